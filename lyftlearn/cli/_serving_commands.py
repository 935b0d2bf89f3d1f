"""`serve`: a model's server on this machine, for as long as the command runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._submission import notes
from lyftlearn.cli import _output, _waiting
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.cli._job_commands import print_logs
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.cli._invocation import Invocation


def serve(invocation: Invocation) -> ExitCode:
    """Serve until Ctrl-C, with what the server prints."""
    arguments = dict(invocation.arguments)
    if not arguments.pop("local", False):
        remedy = f"print what serves it elsewhere with: lyftlearn plan serve {arguments['model']} --backend NAME"
        raise InvalidJob([("--local", f"is missing, and only this machine is served from here; {remedy}")])
    if invocation.json:
        notes.silence()
    job = ops.serve(**arguments, client=Client(config=invocation.config))
    if invocation.json:
        _output.document(_output.job_document(job))
    else:
        _output.note(f"serving as {job.id}; Ctrl-C stops it")
    return _follow(invocation, job)


def _follow(invocation: Invocation, job: Job) -> ExitCode:
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave a server behind either
        signal.signal(number, signal.default_int_handler)
    try:
        print_logs(job, {"follow": True}, as_json=invocation.json)
        state = job.wait(check=False, progress=False)
    except KeyboardInterrupt:
        job.stop()
        job.wait(check=False, progress=False)
        _output.note(f"{job.id} has stopped")
        return ExitCode.DONE
    return _waiting.report_ends([job], [state], drawn=False)
