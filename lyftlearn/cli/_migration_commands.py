"""The views of `migration`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs import views
from lyftlearn._text.display import printable
from lyftlearn.cli import _evidence_tables as evidence_tables
from lyftlearn.cli import _next_steps, _output, _tables
from lyftlearn.cli._autopilot_command import autopilot
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.cli._pages import page_path, write_page
from lyftlearn.cli._switch_command import switch
from lyftlearn.config.migrations import VARIABLE

SHADOWS, WORSE = "shadow differences", "worse"

if TYPE_CHECKING:
    from lyftlearn._migration.results import Blocker, Guard, MigrationStatus, ModelProgress, ReadinessReport
    from lyftlearn._migration.statistics import Interval
    from lyftlearn.cli._invocation import Invocation

_NOTHING = "no submissions were recorded in this time"


def migration(invocation: Invocation) -> ExitCode:
    """Show one view of a migration: of the one that is named, or that counts here."""
    name = invocation.arguments.pop("migration", None)
    _next_steps.keep("migration", _next_steps.option("--migration", name) if name else ())
    if name:
        os.environ[VARIABLE] = name
    return _VIEWS[str(invocation.function)](invocation)


def _report(invocation: Invocation) -> ExitCode:
    client, path = Client(config=invocation.config), page_path(invocation.arguments)
    found = ops.migration_report(**_since(invocation), client=client)
    if path is not None:
        from lyftlearn._migration import page  # noqa: PLC0415 - only for those who want a page

        write_page(path, page.page(found, ops.migration_status(**_since(invocation), client=client)))
    if invocation.json:
        _document(found, _next_steps.of_report(found, *_words(invocation, "since")))
    elif found.models:
        _show_report(found)
    else:
        _output.note(_NOTHING)
    return ExitCode.DONE


def _status(invocation: Invocation) -> ExitCode:
    found = ops.migration_status(**_since(invocation), client=Client(config=invocation.config))
    if invocation.json:
        _document(found, _next_steps.of_status(found, *_words(invocation, "since")))
    elif found.models:
        _show_status(found)
    else:
        _output.note(_NOTHING)
    return ExitCode.DONE


def _guard(invocation: Invocation) -> ExitCode:
    given = {name: invocation.arguments[name] for name in ("level", "ignore") if name in invocation.arguments}
    found = ops.migration_guard(**_since(invocation), **given, client=Client(config=invocation.config))
    if invocation.json:
        judged = _words(invocation, "level", "ignore")
        _document(found, _next_steps.of_guard(found, *_words(invocation, "since"), judged=judged))
    else:
        _show_guard(found)
    return ExitCode.WORSE if found.worse else ExitCode.DONE


_VIEWS: dict[str, Callable[[Invocation], ExitCode]] = {
    "report": _report,
    "status": _status,
    "guard": _guard,
    "switch": switch,
    "autopilot": autopilot,
}


def _document(found: ReadinessReport | MigrationStatus | Guard, next_steps: list[str]) -> None:
    _output.document({**dataclasses.asdict(found), _output.NEXT_STEPS: next_steps})


def _since(invocation: Invocation) -> dict[str, Any]:
    return {"since": invocation.arguments["since"]} if "since" in invocation.arguments else {}


def _words(invocation: Invocation, *names: str) -> list[str]:
    """Return options as they were given: the next look is at the same."""
    found: list[str] = []
    for name in names:
        given = invocation.arguments.get(name, [])
        for value in given if isinstance(given, list) else [given]:
            found += _next_steps.option(f"--{name}", str(value))
    return found


def _show_report(found: ReadinessReport) -> None:
    heads = ("repository", "model", "submitted", f"ran on {found.new}", "rehearsed", "would have run")
    rows = [
        (
            printable(of.repository),
            printable(of.model),
            str(of.submissions),
            str(of.ran_there),
            str(of.rehearsed),
            str(of.would_have_run),
        )
        for of in found.models
    ]
    _tables.show(_tables.Table(heads=heads, rows=rows, dispensable=("repository", "rehearsed")))
    if found.lost:
        _output.say(f"\n{found.lost} of these not rehearsed: their process ended first, or could not write it down")
    for reason in found.reasons:
        _show_reason(reason)
    if found.fall_backs:
        _output.say(f"\nrefused by {found.new}, and run on {found.old} instead: {found.fell_back}")
    for reason in found.fall_backs:
        _show_reason(reason)


def _show_reason(reason: Blocker) -> None:
    times = f"{reason.count} time{'s' if reason.count > 1 else ''}"
    _output.say(f"\n{printable(reason.path)}: {printable(reason.problem)}")
    if reason.example:
        _output.say(f"  such as: {printable(reason.example)}")
    _output.say(f"  {times}{'' if reason.standing else ', no longer'}; models {printable(', '.join(reason.models))}")


def _show_status(found: MigrationStatus) -> None:
    heads = ("repository", "model", "stage", "side", "jobs", "share", "succeeded", "start-up", "duration", "cost")
    rows = [row for of in (*found.models, found.total) for row in _rows(found, of)]
    left_out_first = ("repository", "start-up", "cost", "duration", "share")
    _tables.show(_tables.Table(heads=heads, rows=rows, dispensable=left_out_first))
    for one in (one for one in found.total.comparisons if one.differences):
        _output.say(f"\n{one.job_id} and its shadow {one.shadow_id} differ:")
        for difference in one.differences:
            _output.say(f"  {printable(difference)}")
    evidence_tables.show(found)
    alike = sum(not one.differences for one in found.total.comparisons)
    _output.say(f"\nshadows compared: {len(found.total.comparisons)}, of which alike: {alike}")
    _output.say(f"jobs without a known end: {found.unsettled}")


def _rows(found: MigrationStatus, of: ModelProgress) -> list[tuple[str, ...]]:
    name = (printable(of.repository or "all"), printable(of.model or "all"), of.stage or "-")
    sides = [(found.old, of.old, 1 - of.share), (found.new, of.new, of.share), ("shadow", of.shadow, None)]
    return [
        (
            *name,
            label,
            str(side.jobs),
            "" if share is None else f"{share:.0%}",
            _interval(side.success_rate, "{:.0%}".format),
            _interval(side.start_up, views.time_text),
            _interval(side.duration, views.time_text),
            "-" if side.cost is None else views.money(side.cost, side.currency or ""),
        )
        for label, side, share in sides
        if side.jobs
    ]


def _interval(interval: Interval | None, written: Callable[[float], str]) -> str:
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return written(interval.value)
    return f"{written(interval.value)} ({written(interval.low)}-{written(interval.high)})"


def _show_guard(found: Guard) -> None:
    _output.say(f"{found.verdict}: {found.models} models have finished jobs on both sides")
    heads = ("measure", "verdict", "old side", "new side", "p", "needs")
    rows = [
        (
            one.name,
            one.verdict,
            "" if one.name == SHADOWS else f"{one.old_bad} of {one.old_jobs}",
            f"{one.new_bad} of {one.new_jobs}",
            f"{one.p:.3g}",
            f"{one.more_jobs} more jobs" if one.more_jobs else "",
        )
        for one in found.measures
    ]
    _tables.show(_tables.Table(heads=heads, rows=rows))
    for model in (one for one in found.by_model if one.verdict == WORSE):
        _output.say(f"{printable(model.model)} of {printable(model.repository)} is worse: {', '.join(model.because)}")
    if found.more_jobs:
        until = f", about until {found.until:%Y-%m-%d}" if found.until else ""
        _output.say(f"an answer needs {found.more_jobs} more jobs on the new side{until}")
    _output.say(f"each p holds at every look; together they are held to a level of {found.level:g}")
