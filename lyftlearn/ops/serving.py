"""Serving a model: on this machine now, or as the objects that a platform makes a server from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._contract import ids
from lyftlearn._submission import notes
from lyftlearn._submission.serving import PORT, ServerArguments, ServerBuilder, again
from lyftlearn.errors import InvalidJob, JobNotFound, LyftLearnError
from lyftlearn.types import JobKind, JobStatus, Resources

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.backend import Backend, JobSpec, Plan


def plan_server(
    model: str,
    *,
    backend: str | None = None,
    layout: str | None = None,
    command: str | Sequence[str] | None = None,
    image: str | None = None,
    resources: Resources | None = None,
    port: int = PORT,
    client: Client | None = None,
) -> Plan:
    """Return the requests for a server of a model, with every fault in `.faults`. It sends nothing.

    model: the id of a train job, or a model's name for the newest train job of that name that succeeded. backend: where
    it is to be served, by default where it was trained. layout: "deployment" (the default), "kserve" or "seldon" on
    Kubernetes. command, image, resources: what else than the job's is wanted; by default the command is `[serve]
    command`, and no GPU is asked for. port: where the command listens. Raises InvalidJob with every fault of the call,
    JobNotFound, and LyftLearnError if the model is not there.
    """
    asker = client or Client()
    given = ServerArguments(command=command, image=image, resources=resources, port=port)
    spec, name = _server(asker, model, given, backend)
    return asker._registry.get(name).plan_server(spec, layout)  # noqa: SLF001 - the client's other half


def serve(
    model: str,
    *,
    backend: str = "local",
    command: str | Sequence[str] | None = None,
    image: str | None = None,
    resources: Resources | None = None,
    port: int = PORT,
    client: Client | None = None,
) -> Job:
    """Serve a model by a job of a backend of this machine, and return the job, which runs until it is stopped.

    Arguments and errors are those of `plan_server`. Raises InvalidJob for a backend that is not of this machine.
    """
    asker = client or Client()
    given = ServerArguments(command=command, image=image, resources=resources, port=port)
    spec, name = _server(asker, model, given, backend)
    if not asker._registry.get(name).capabilities().sees_this_machine:  # noqa: SLF001 - the client's other half
        remedy = f"print what serves it there with: lyftlearn plan serve {model} --backend {name}"
        raise InvalidJob([("backend", f"{name} is not on this machine: {remedy}")])
    return submit_server(asker, spec, name)


def submit_server(client: Client, spec: JobSpec, backend: str) -> Job:
    """Submit a server as a job of its own, which no earlier one keeps from starting."""
    chosen, session = client._registry.get(backend), client._session  # noqa: SLF001 - the client's other half
    plan = chosen.plan_server(again(spec, ids.new_id(spec.name, spec.kind, session.registry.letter(backend))))
    if plan.faults:
        raise InvalidJob(plan.faults)
    session.builder.make_directories()
    job = _submit(client, chosen, plan)
    notes.tell(plan.notes)
    return job


def _submit(client: Client, backend: Backend, plan: Plan) -> Job:
    try:
        return client._handle(backend.submit(plan))  # noqa: SLF001 - the client's other half
    except KeyboardInterrupt:  # nobody else has the id, and a server has no end
        with suppress(LyftLearnError):
            client.job(plan.spec.id).stop()
        raise


def _server(client: Client, model: str, given: ServerArguments, backend: str | None) -> tuple[JobSpec, str]:
    job = train_job(client, model)
    registry = client._registry  # noqa: SLF001 - the client's other half
    home = registry.of_job(job.id)
    name = backend or home
    registry.get(name)  # one that is not installed is named before anything is read
    builder = ServerBuilder(client._session.builder)  # noqa: SLF001 - as above
    record: Any = job._record  # noqa: SLF001 - a friend of the handle
    return builder.build(record, registry.get(home).stored_job(job.id), given, name), name


def train_job(client: Client, model: str) -> Job:
    """Return the train job that an id means, or the newest of a model that succeeded. Raises JobNotFound."""
    if ids.parse(model) is not None:
        return client.job(model)
    newest = next(iter(client.jobs(name=model, kind=JobKind.TRAIN, status=JobStatus.SUCCEEDED, limit=1)), None)
    if newest is None:
        raise JobNotFound(
            f"no train job of the model {model!r} is known that succeeded: name the job's id, or train it"
        )
    return newest
