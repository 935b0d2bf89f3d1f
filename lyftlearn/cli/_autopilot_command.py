"""`migration autopilot`."""

from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._contract.signal_event import SignalEvent
from lyftlearn._text.display import printable
from lyftlearn.cli import _next_steps, _output, _tables
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import BackendUnavailable, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._migration.results import AutopilotRun, AutopilotStep
    from lyftlearn.cli._invocation import Invocation

_MOST_HOLDS = 20
_LONGEST_WAIT = 14 * 24 * 3600.0  # the system's longest is 24 days


def autopilot(invocation: Invocation) -> ExitCode:
    """Look once; without --once, again and again until SIGTERM or Ctrl-C."""
    client = Client(config=invocation.config)
    dry_run = bool(invocation.arguments.get("dry_run"))
    if dry_run or invocation.arguments.get("once"):
        _show(invocation, ops.migration_autopilot(dry_run=dry_run, client=client))
        return ExitCode.DONE
    stopped = SignalEvent()
    signal.signal(signal.SIGTERM, lambda *_: stopped.notify())
    seconds = min(client._config.autopilot["every"].total_seconds(), _LONGEST_WAIT)  # noqa: SLF001 - as in `ops`
    passing: type[LyftLearnError] = BackendUnavailable  # a history that is away for a night is no reason to end
    while not stopped.is_set():
        try:
            _show(invocation, ops.migration_autopilot(client=client))
            passing = LyftLearnError  # what is configured has worked: somebody broke a file, and will mend it
        except passing as exc:
            _output.note(f"nothing is changed until the next look: {exc}")
        stopped.wait(seconds)
    return ExitCode.DONE


def _show(invocation: Invocation, found: AutopilotRun) -> None:
    if invocation.json:
        _output.document({**dataclasses.asdict(found), _output.NEXT_STEPS: _next_steps.of_autopilot(found)})
        return
    moved = [step for step in found.steps if step.action != "hold"]
    held = [step for step in found.steps if step.action == "hold"]
    if rows := [_row(step) for step in (*moved, *held[:_MOST_HOLDS])]:
        heads = ("repository", "model", "action", "from", "to", "why")
        _tables.show(_tables.Table(heads=heads, rows=rows, dispensable=("repository", "from")))
    if len(held) > _MOST_HOLDS:
        _output.say(f"and {len(held) - _MOST_HOLDS} more are held: --json has them all")
    counts = Counter(step.action for step in found.steps)
    said = ", ".join(f"{counts[action]} {word}" for action, word in _WORDS.items())
    _output.say(f"{said}{'; nothing was changed' if found.dry_run else ''}; rungs are in {printable(found.flags)}")


_WORDS = {"raise": "raised", "lower": "lowered", "hold": "held"}


def _row(step: AutopilotStep) -> tuple[str, ...]:
    names = (printable(step.repository), printable(step.model))
    return (*names, step.action, step.rung_before, step.rung, printable(step.reason))
