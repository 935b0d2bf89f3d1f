"""`migration switch`: what other flags would change, and putting them in place."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs import views
from lyftlearn._text.display import printable
from lyftlearn.cli import _next_steps, _output, _tables
from lyftlearn.cli._exit_codes import ExitCode

if TYPE_CHECKING:
    from lyftlearn._migration.results import Switch, SwitchedModel
    from lyftlearn.cli._invocation import Invocation

_HEADS = ("repository", "model", "jobs", "stage", "runs on", "start-up", "cost", "against")


def switch(invocation: Invocation) -> ExitCode:
    """Show what the flags of a file would change; without --dry-run, put them in place."""
    found = ops.migration_switch(**invocation.arguments, client=Client(config=invocation.config))
    if invocation.json:
        steps = _next_steps.of_switch(found, invocation.arguments.get("why"))
        _output.document({**dataclasses.asdict(found), _output.NEXT_STEPS: steps})
    else:
        _show(found)
    return ExitCode.DONE


def _show(found: Switch) -> None:
    if found.models:
        rows = [_row(of) for of in found.models]
        left_out_first = ("repository", "start-up", "cost", "stage")
        _tables.show(_tables.Table(heads=_HEADS, rows=rows, dispensable=left_out_first))
    for path, problem in dict.fromkeys((one.path, one.problem) for of in found.models for one in of.against):
        _output.say(f"\n{printable(path)}: {printable(problem)}")
    _output.say(f"\nof {found.jobs} jobs, {found.moved} would have run on another backend")
    for note in found.notes:
        _output.say(printable(note))
    if found.written:
        _output.say(f"{printable(str(found.target))} has these flags now")


def _row(of: SwitchedModel) -> tuple[str, ...]:
    before, after = of.backend_before, of.backend_after
    currency = of.currency or ""
    return (
        printable(of.repository),
        printable(of.model),
        str(of.jobs),
        f"{of.stage_before} -> {of.stage_after}",
        before if before == after else f"{before} -> {after}",
        f"{_time(of.start_up_before)} -> {_time(of.start_up_after)}",
        f"{_cost(of.cost_before, currency)} -> {_cost(of.cost_after, currency)}",
        _against(of),
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else views.time_text(seconds)


def _cost(amount: float | None, currency: str) -> str:
    return "-" if amount is None else views.money(amount, currency)


def _against(of: SwitchedModel) -> str:
    """Return in short what speaks against it; the problems themselves follow the table."""
    count = len(of.against)
    problems = f"{count} problem{'s' if count > 1 else ''}" if count else ""
    worse = "worse there" if of.verdict == "worse" else ""
    return ", ".join(filter(None, (problems, "never rehearsed" if of.unproven else "", worse))) or "nothing"
