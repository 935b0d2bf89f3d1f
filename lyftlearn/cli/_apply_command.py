"""`apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._submission import notes
from lyftlearn.cli import _submit_commands, _waiting

if TYPE_CHECKING:
    from lyftlearn.cli._exit_codes import ExitCode
    from lyftlearn.cli._invocation import Invocation


def apply(invocation: Invocation) -> ExitCode:
    """Send what a plan says, and do what was asked for afterwards."""
    if invocation.json:
        notes.silence()
    path = invocation.arguments["file"]
    with _waiting.submitting(path):
        job = ops.apply_plan(path, client=Client(config=invocation.config))
    return _submit_commands.follow_up(invocation, job)
