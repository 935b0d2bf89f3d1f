"""One model on several sides: whether its servers give the same answers, whatever trained it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lyftlearn._client import Client
from lyftlearn._contract.fault import Fault
from lyftlearn._submission.serving import (
    ServerArguments,
    ServerBuilder,
    model_uri,
    read_model,
    tested_by_caller,
)
from lyftlearn._text.quantities import duration
from lyftlearn.errors import InvalidJob
from lyftlearn.ops.serving import submit_server, train_job
from lyftlearn.types import Duration, Resources

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.backend import JobRecord
    from lyftlearn.parity._serving import ModelTest, ServingParity, Side
    from lyftlearn.runtime.selftest import SelfTest

LAYOUTS = ("local-kubernetes", "local-sagemaker")
"""Where models are served unless something else is asked for: as either platform lays them out."""
_DISTINCT = "names {} twice: each is served once"


def served_parity(
    models: Sequence[str],
    *,
    on: Sequence[str] = LAYOUTS,
    command: str | Sequence[str] | None = None,
    image: str | None = None,
    resources: Resources | None = None,
    patience: Duration = "30m",
    on_side: Callable[[str], None] = lambda _: None,
    client: Client | None = None,
) -> ServingParity:
    """Serve each of `models` on each backend in `on`, run the models' self-tests there, and return what differs.

    models: ids of train jobs, of any backend, or names of models as `serve` takes them. The first, on the first of
    `on`, is the reference. Every server is asked the tests of all models. on: backends of this machine. command, image,
    resources: as `serve` takes them. patience: how long a server may take until it answers a ping. on_side: told of
    each server before it starts.

    A server that does not start is part of the answer. Raises InvalidJob with every fault before anything is served,
    JobNotFound, and LyftLearnError if a model is not there. A KeyboardInterrupt stops the server of the moment.
    """
    from lyftlearn.parity import _serving  # noqa: PLC0415 - only for those who compare

    asker = client or Client()
    given = ServerArguments(command=command, image=image, resources=resources)
    faults = [*_name_faults(asker, models, on), *_patience_faults(patience)]
    if faults:
        raise InvalidJob(faults)
    records = _records(asker, models, given)
    read = [read_model(model_uri(record)) for record in records]
    tests = _all_tests([(record.id, tests) for record, (_, tests) in zip(records, read, strict=True)])
    served = [_Served(record, digest) for record, (digest, _) in zip(records, read, strict=True)]
    sides = [_side(asker, one, given, name, alone=len(served) == 1) for one in served for name in on or LAYOUTS]
    return _serving.compare(sides, tests, duration(patience).total_seconds(), on_side)


class _Served(NamedTuple):
    """A train job, and the SHA-256 of its model's archive."""

    record: JobRecord
    digest: str


def _name_faults(client: Client, models: Sequence[str], on: Sequence[str]) -> Iterator[Fault]:
    if not models:
        yield Fault("serve", "names no model: write the id of a train job, or the name of a model")
    for path, names in (("serve", models), ("on", on)):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        if twice:
            yield Fault(path, _DISTINCT.format(", ".join(twice)))
    registry = client._registry  # noqa: SLF001 - the client's other half
    for name in on:
        if not registry.get(name).capabilities().sees_this_machine:
            here = ", ".join(LAYOUTS)
            yield Fault("on", f"{name} is not on this machine: name backends that serve as platforms do, {here}")


def _patience_faults(patience: Duration) -> Iterator[Fault]:
    try:
        duration(patience)
    except ValueError as exc:
        yield Fault("patience", str(exc))


def _records(client: Client, models: Sequence[str], given: ServerArguments) -> list[JobRecord]:
    """Return the train jobs. Raises InvalidJob with what stands against any of them."""
    builder = ServerBuilder(client._session.builder)  # noqa: SLF001 - the client's other half
    records, faults = [], []
    for model in models:
        record = train_job(client, model)._record  # noqa: SLF001 - a friend of the handle
        try:
            builder.check(record, given)
        except InvalidJob as exc:
            faults += exc.faults
        records.append(record)
    if faults:
        raise InvalidJob(list(dict.fromkeys(faults)))
    return records


def _all_tests(models: Sequence[tuple[str, list[SelfTest]]]) -> list[ModelTest]:
    """Return the tests of all models, one that two models bring but once. Raises InvalidJob if there is none."""
    from lyftlearn.parity._serving import ModelTest  # noqa: PLC0415 - as above

    tests: dict[object, ModelTest] = {}
    for one in (ModelTest(job_id, test) for job_id, brought in models for test in brought):
        tests.setdefault(one.meaning, one)
    if not tests:
        names = ", ".join(job_id for job_id, _ in models)
        raise InvalidJob([("serve", f"{names} brings no self-test: its train job writes them to model/selftest")])
    return list(tests.values())


def _side(client: Client, served: _Served, given: ServerArguments, backend: str, *, alone: bool) -> Side:
    from lyftlearn.parity._serving import Side  # noqa: PLC0415 - as above

    model = served.record.id
    start = partial(_start, client, served, given, backend)
    return Side(name=backend if alone else f"{model} on {backend}", model=model, backend=backend, start=start)


def _start(client: Client, served: _Served, given: ServerArguments, backend: str, port: int) -> Job:
    """Serve a model at a port."""
    registry, builder = client._registry, ServerBuilder(client._session.builder)  # noqa: SLF001 - as above
    stored = registry.get(registry.of_job(served.record.id)).stored_job(served.record.id)
    spec = builder.build(served.record, stored, replace(given, port=port), backend, served.digest)
    return submit_server(client, tested_by_caller(spec), backend)
