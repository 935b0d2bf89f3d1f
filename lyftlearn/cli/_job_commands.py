"""`jobs`, `status`, `logs`, `wait`, `stop` and `download`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs import views
from lyftlearn._jobs.job import NoOutputs, stamp_line
from lyftlearn._text.display import printable
from lyftlearn.cli import _output, _tables, _waiting
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import LyftLearnError
from lyftlearn.ops.cost import known_costs
from lyftlearn.ops.placement import placement
from lyftlearn.types import JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.backend import Timings
    from lyftlearn.cli._invocation import Invocation


def jobs(invocation: Invocation) -> ExitCode:
    """List jobs."""
    client = Client(config=invocation.config)
    found = list(client.jobs(**invocation.arguments))
    if invocation.json:
        _output.document([_output.job_document(job) for job in found])
    elif found:
        _tables.show(jobs_table(found, cost_texts(found, client)))
    else:
        _output.note("no jobs")
    return ExitCode.DONE


def cost_texts(found: Sequence[Job], client: Client) -> dict[str, str]:
    """Return by id what jobs have cost, as far as the history knows; a history in trouble hides no job."""
    with suppress(LyftLearnError):
        return {
            job_id: views.money(cost.amount or 0.0, cost.currency)
            for job_id, cost in known_costs(found, client=client).items()
        }
    return {}


def jobs_table(found: Sequence[Job], costs: Mapping[str, str]) -> _tables.Table:
    """Return jobs as a table; costs: what is known of them, by id."""
    rows = [_row(job, costs.get(job.id, "-")) for job in found]
    empty = {name for name in ("stage", "cost") if all(row[name] == "-" for row in rows)}
    heads = [head for head in rows[0] if head not in empty]
    return _tables.Table(
        heads=heads,
        rows=[[row[head] for head in heads] for row in rows],
        dispensable=("kind", "stage", "name", "created", "backend", "cost", "duration", "message"),
        free="message",
    )


def _row(job: Job, cost: str) -> dict[str, str]:
    texts, where = dict(zip(views.COLUMNS, views.row(job), strict=True)), placement(job)
    message = texts.pop("message")
    stage = f"{where.stage or '-'}{', fell back' if where.fell_back else ''}"
    return {
        **texts,
        "cost": cost,
        "backend": printable(where.backend or "-"),
        "stage": printable(stage),
        "message": message,
    }


def status(invocation: Invocation) -> ExitCode:
    """Show one job."""
    client = Client(config=invocation.config)
    job = client.job(**_by_id(invocation))
    timings = ops.timings(job) if invocation.arguments.get("timings") else None
    cost = _cost_of(job, client)
    if invocation.json:
        told = {"timings": _timings_document(timings)} if timings else {}
        costs = {"cost": asdict(cost)} if cost else {}
        _output.document({**_output.job_document(job), "outputs": job.outputs, **told, **costs})
    else:
        _output.facts({**_job_facts(job), "cost": cost_text(cost), **(_timing_facts(timings) if timings else {})})
        _output.quote(job.state.message)
    return ExitCode.DONE


def logs(invocation: Invocation) -> ExitCode:
    """Print a job's output."""
    job = Client(config=invocation.config).job(invocation.arguments["id"])
    query = {name: value for name, value in invocation.arguments.items() if name != "id"}
    follow = invocation.arguments.get("follow", False)
    with _waiting.detachable([job], "logs --follow") if follow else nullcontext():
        print_logs(job, query, as_json=invocation.json)
    return ExitCode.DONE


def print_logs(job: Job, query: dict[str, Any], *, as_json: bool) -> None:
    """Print what the options of `logs` ask for, each line at once if it is followed."""
    flush = query.get("follow", False)
    if as_json:
        query.pop("timestamps", None)  # every object has its time
        _output.line_documents(ops.logs(job, **query), flush=flush)
    elif query.get("node") is None and (job._record.nodes or 1) > 1:  # noqa: SLF001 - a friend of the handle
        timestamps = query.pop("timestamps", False)
        _output.lines(_lines_of_nodes(job, query, timestamps=timestamps), flush=flush)
    else:
        _output.lines(job.logs(**query), flush=flush)


def _lines_of_nodes(job: Job, query: dict[str, Any], *, timestamps: bool) -> Iterator[str]:
    """Yield the lines of several nodes, each after the node that wrote it."""
    for line in ops.logs(job, **query):
        yield f"[node {line.node}] {stamp_line(line) if timestamps else line.text}"


def wait(invocation: Invocation) -> ExitCode:
    """Wait for jobs; how they ended is the exit code."""
    client = Client(config=invocation.config)
    found = _jobs_by_id(client, invocation)
    progress = invocation.arguments.get("progress")
    with _waiting.detachable(found):
        states = client.wait(found, invocation.arguments.get("timeout"), check=False, progress=progress)
    if invocation.json:
        _output.document([_output.job_document(job) for job in found])
    return _waiting.report_ends(found, states, drawn=_waiting.draws_progress(progress))


def stop(invocation: Invocation) -> ExitCode:
    """Ask jobs to stop, each of them whatever becomes of the others. Raises the first error in the end."""
    client = Client(config=invocation.config)
    errors: dict[str, LyftLearnError] = {}
    stopping = []
    for job_id in dict.fromkeys(invocation.arguments["ids"]):
        try:
            job = client.job(job_id)
            job.stop()
            stopping.append(job)
        except LyftLearnError as exc:
            errors[job_id] = exc
    if invocation.arguments.get("wait"):
        with _waiting.detachable(stopping):
            client.wait(stopping, check=False)
    _show_stopping(stopping, as_json=invocation.json)
    return _raise_first(errors)


def _show_stopping(jobs: Sequence[Job], *, as_json: bool) -> None:
    for job in jobs:
        with suppress(LyftLearnError):  # it was asked to stop, and what was last seen is shown
            job.refresh()
    if as_json:
        _output.document([_output.job_document(job) for job in jobs])
    else:
        _output.facts({job.id: views.status_text(job.state) for job in jobs})


def _raise_first(errors: Mapping[str, LyftLearnError]) -> ExitCode:
    for job_id, error in list(errors.items())[1:]:
        _output.note(f"lyftlearn: {printable(job_id)}: {error}")
    for error in errors.values():
        raise error
    return ExitCode.DONE


def download(invocation: Invocation) -> ExitCode:
    """Fetch outputs."""
    job = Client(config=invocation.config).job(invocation.arguments["id"])
    options = {name: invocation.arguments[name] for name in ("output", "overwrite") if name in invocation.arguments}
    dest = job.download(invocation.arguments["dest"], **options)
    if invocation.json:
        _output.document({"id": job.id, "directory": dest})
    else:
        _output.say(str(dest))
    return ExitCode.DONE


def _by_id(invocation: Invocation) -> dict[str, str]:
    return {"job_id": invocation.arguments["id"]}


def _jobs_by_id(client: Client, invocation: Invocation) -> list[Job]:
    return [client.job(job_id) for job_id in dict.fromkeys(invocation.arguments["ids"])]


def _job_facts(job: Job) -> dict[str, str]:
    state, where = job.state, placement(job)
    times = {"created": state.created_at, "started": state.started_at, "finished": state.finished_at}
    return {
        "id": job.id,
        "name": job.name,
        "kind": str(job.kind),
        "status": views.status_text(state),
        "exit code": "" if state.exit_code is None else str(state.exit_code),
        "attempt": str(state.attempt),
        "nodes": views.nodes_text(job),
        **{
            name: time.astimezone().isoformat(sep=" ", timespec="seconds") if time else ""
            for name, time in times.items()
        },
        "duration": views.duration_text(state),
        "backend": where.backend or "",
        "stage": where.stage or "",
        "decision": where.reason or "",
        "labels": ", ".join(f"{name}={value}" for name, value in job.labels.items()),
        **_output_facts(job),
    }


def _cost_of(job: Job, client: Client) -> ops.JobCost | None:
    """Return what a job has cost; None where the history has no word of it: the state is shown all the same."""
    try:
        return ops.job_cost(job, client=client)
    except LyftLearnError:
        return None


def cost_text(cost: ops.JobCost | None) -> str:
    """Return a cost as a person reads it: the amount and how it was counted, or why it is not known."""
    if cost is None:
        return ""
    return (
        f"not known: {cost.basis}"
        if cost.amount is None
        else f"{views.money(cost.amount, cost.currency)} ({cost.basis})"
    )


def _timing_facts(timings: Timings) -> dict[str, str]:
    return {**views.phase_texts(timings), "warm machine": "yes" if timings.warm else ""}


def _timings_document(timings: Timings) -> dict[str, Any]:
    phases = [
        {"name": phase.name, "started_at": phase.started_at, "finished_at": phase.finished_at}
        for phase in timings.phases
    ]
    return {"phases": phases, "warm": timings.warm}


def _output_facts(job: Job) -> dict[str, str]:
    outputs = job.outputs
    if isinstance(outputs, NoOutputs):
        return {"outputs": outputs.reason}
    facts = {f"output {name}": uri for name, uri in outputs.items()}
    if job.kind is JobKind.TRAIN and job.state.status is JobStatus.SUCCEEDED and _is_empty(outputs.get("model")):
        facts["output model"] = "empty: the command left nothing in the directory LYFTLEARN_MODEL_DIR"
    return facts


def _is_empty(uri: str | None) -> bool:
    """Whether an archive is known to have nothing in it."""
    from lyftlearn._transfer.download import is_empty  # noqa: PLC0415 - brings S3

    try:
        return uri is not None and is_empty(uri)
    except Exception:  # noqa: BLE001 - the status of a job is shown, whatever its storage says
        return False
