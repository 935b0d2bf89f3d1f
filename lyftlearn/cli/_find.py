"""`jobs`, `status`, `logs`, `wait`, `stop` and `download`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn import _views
from lyftlearn._client import Client
from lyftlearn.cli import _output, _waiting
from lyftlearn.cli._exits import Exit

if TYPE_CHECKING:
    from lyftlearn._job import Job
    from lyftlearn.cli._call import Call


def jobs(call: Call) -> Exit:
    """List jobs."""
    found = list(Client(config=call.config).jobs(**call.arguments))
    if call.json:
        _output.document([_output.job_document(job) for job in found])
    elif found:
        _output.table(_views.COLUMNS, [_views.row(job) for job in found])
    else:
        _output.note("no jobs")
    return Exit.DONE


def status(call: Call) -> Exit:
    """Show one job."""
    job = Client(config=call.config).job(**_by_id(call))
    if call.json:
        _output.document({**_output.job_document(job), "outputs": job.outputs})
    else:
        _output.facts(_shown(job))
        _output.quoted(job.state.message)
    return Exit.DONE


def logs(call: Call) -> Exit:
    """Print a job's output."""
    job = Client(config=call.config).job(call.arguments["id"])
    query = {name: value for name, value in call.arguments.items() if name != "id"}
    follow = call.arguments.get("follow", False)
    if not follow:
        _output.lines(job.logs(**query), as_json=call.json, flush=False)
        return Exit.DONE
    with _waiting.detachable([job], "logs --follow"):
        _output.lines(job.logs(**query), as_json=call.json, flush=True)
    return Exit.DONE


def wait(call: Call) -> Exit:
    """Wait for jobs; how they ended is the exit code."""
    client = Client(config=call.config)
    found = _named(client, call)
    progress = call.arguments.get("progress")
    with _waiting.detachable(found):
        states = client.wait(found, call.arguments.get("timeout"), check=False, progress=progress)
    if call.json:
        _output.document([_output.job_document(job) for job in found])
    return _waiting.ended(found, states, drawn=_waiting.drawn(progress))


def stop(call: Call) -> Exit:
    """Ask jobs to stop."""
    client = Client(config=call.config)
    found = _named(client, call)
    for job in found:
        job.stop()
    if call.arguments.get("wait"):
        with _waiting.detachable(found):
            client.wait(found, check=False)
    for job in found:
        job.refresh()
    if call.json:
        _output.document([_output.job_document(job) for job in found])
    else:
        for line in _views.aligned([(job.id, _views.status_text(job.state)) for job in found]):
            _output.say(line)
    return Exit.DONE


def download(call: Call) -> Exit:
    """Fetch outputs."""
    job = Client(config=call.config).job(call.arguments["id"])
    dest = job.download(call.arguments["dest"], output=call.arguments.get("output"))
    if call.json:
        _output.document({"id": job.id, "directory": dest})
    else:
        _output.say(str(dest))
    return Exit.DONE


def _by_id(call: Call) -> dict[str, str]:
    return {"job_id": call.arguments["id"]}


def _named(client: Client, call: Call) -> list[Job]:
    return [client.job(job_id) for job_id in dict.fromkeys(call.arguments["ids"])]


def _shown(job: Job) -> dict[str, str]:
    state = job.state
    times = {"created": state.created_at, "started": state.started_at, "finished": state.finished_at}
    return {
        "id": job.id,
        "name": job.name,
        "kind": str(job.kind),
        "status": _views.status_text(state),
        "exit code": "" if state.exit_code is None else str(state.exit_code),
        "attempt": str(state.attempt),
        **{
            name: time.astimezone().isoformat(sep=" ", timespec="seconds") if time else ""
            for name, time in times.items()
        },
        "duration": _views.duration_text(state),
        "labels": ", ".join(f"{name}={value}" for name, value in job.labels.items()),
        **{f"output {name}": uri for name, uri in job.outputs.items()},
    }
