"""`train`, `process` and `predict`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._ids import parse
from lyftlearn.cli import _output, _waiting
from lyftlearn.cli._exits import Exit

if TYPE_CHECKING:
    from lyftlearn._job import Job
    from lyftlearn.cli._call import Call


def run(call: Call) -> Exit:
    """Submit the job, and do what was asked for afterwards."""
    client = Client(config=call.config)
    arguments = complete(client, call.arguments)
    with _waiting.submitting(arguments.get("model") or arguments["name"]):
        job: Job = getattr(client, call.command)(**arguments)
    if not call.wait:
        return _submitted(call, job)
    return _followed(call, job) if call.follow else _waited(call, job)


def complete(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with a command, empty if none was given, and with an artifact's id as its job."""
    arguments = {"command": [], **given}
    artifact = arguments.get("artifact")
    if artifact and parse(artifact):
        arguments["artifact"] = client.job(artifact)
    return arguments


def _submitted(call: Call, job: Job) -> Exit:
    _announce(call, job)
    if sys.stderr.isatty() and not call.json:
        _output.note(f"submitted; see its output with: lyftlearn logs --follow {job.id}")
    return Exit.DONE


def _waited(call: Call, job: Job) -> Exit:
    with _waiting.detachable([job]):
        if not call.json:
            _output.say(job.id)
            sys.stdout.flush()
        state = job.wait(check=False)
    if call.json:
        _output.document(_output.job_document(job))
    return _waiting.ended([job], [state], drawn=_waiting.drawn(None))


def _followed(call: Call, job: Job) -> Exit:
    with _waiting.detachable([job], "logs --follow"):
        _output.note(f"submitted {job.id}")
        _output.lines(job.logs(follow=True), as_json=call.json, flush=True)
        state = job.wait(check=False, progress=False)
    if call.json:
        _output.document(_output.job_document(job))
    return _waiting.ended([job], [state], drawn=False)


def _announce(call: Call, job: Job) -> None:
    if call.json:
        _output.document(_output.job_document(job))
    else:
        _output.say(job.id)
