"""`train`, `process` and `predict`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._contract.ids import parse
from lyftlearn._submission import notes
from lyftlearn.cli import _output, _waiting
from lyftlearn.cli._exit_codes import ExitCode

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.cli._invocation import Invocation


def run(invocation: Invocation) -> ExitCode:
    """Submit the job, and do what was asked for afterwards."""
    gc.disable()  # what a submission loads and makes stays, and would be looked through again and again
    try:
        job = _submit(invocation)
    finally:
        gc.enable()
    return follow_up(invocation, job)


def _submit(invocation: Invocation) -> Job:
    client = Client(config=invocation.config)
    if invocation.json:
        notes.silence()
    arguments = complete(client, invocation.arguments)
    with _waiting.submitting(arguments.get("model", arguments.get("name", ""))):
        job: Job = getattr(client, invocation.command)(**arguments)
    return job


def follow_up(invocation: Invocation, job: Job) -> ExitCode:
    """Do with a job that was submitted what was asked for."""
    if not invocation.wait:
        return _report_submission(invocation, job)
    return _follow(invocation, job) if invocation.follow else _wait(invocation, job)


def complete(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments, with nothing for what is missing and the API needs, and an artifact's id as its job."""
    needed: dict[str, Any] = {"command": [], **({"inputs": {}} if "artifact" in given else {})}
    arguments = {**needed, **given}
    artifact = arguments.get("artifact")
    if artifact and parse(artifact):
        arguments["artifact"] = client.job(artifact)
    return arguments


def _report_submission(invocation: Invocation, job: Job) -> ExitCode:
    _announce(invocation, job)
    if _output.is_watched() and not invocation.json:
        _output.note(f"submitted; see its output with: lyftlearn logs --follow {job.id}")
    return ExitCode.DONE


def _wait(invocation: Invocation, job: Job) -> ExitCode:
    with _waiting.detachable([job]):
        if not invocation.json:
            _output.say(job.id)
            sys.stdout.flush()
        state = job.wait(check=False)
    if invocation.json:
        _output.document(_output.job_document(job))
    return _waiting.report_ends([job], [state], drawn=_waiting.draws_progress(None))


def _follow(invocation: Invocation, job: Job) -> ExitCode:
    from lyftlearn.cli._job_commands import print_logs  # noqa: PLC0415 - brings all that operators ask

    with _waiting.detachable([job], "logs --follow"):
        _output.note(f"submitted {job.id}")
        print_logs(job, {"follow": True}, as_json=invocation.json)
        state = job.wait(check=False, progress=False)
    if invocation.json:
        _output.document(_output.job_document(job))
    return _waiting.report_ends([job], [state], drawn=False)


def _announce(invocation: Invocation, job: Job) -> None:
    if invocation.json:
        _output.document(_output.job_document(job))
    else:
        _output.say(job.id)
