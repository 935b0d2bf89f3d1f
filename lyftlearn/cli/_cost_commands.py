"""`cost` and `collect`: what is read out of the history, and who completes it."""

from __future__ import annotations

import csv
import dataclasses
import sys
from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs.views import money
from lyftlearn._text.display import printable
from lyftlearn.cli import _output, _tables
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation

_COLUMNS = ("jobs", "priced", "unpriced", "open", "hours", "cost", "currency")


def cost(invocation: Invocation) -> ExitCode:
    """Say what jobs have cost."""
    given = {name: invocation.arguments[name] for name in ("by", "since") if name in invocation.arguments}
    as_csv = invocation.arguments.get("csv", False)
    if as_csv and invocation.json:
        raise InvalidJob([("--csv", "and --json are two formats: take one of them")])
    found = ops.cost(**given, client=Client(config=invocation.config))
    if invocation.json:
        _output.document(dataclasses.asdict(found))
    elif as_csv:
        _print_csv(found)
    elif found.rows:
        _show(found)
    else:
        _output.note("the history knows no job in this time")
    return ExitCode.DONE


def collect(invocation: Invocation) -> ExitCode:
    """Follow open jobs until a signal ends it."""
    given = {name: invocation.arguments[name] for name in ("listen", "once") if name in invocation.arguments}
    done = ops.collect(**given, client=Client(config=invocation.config))
    _output.note(f"{done.ended} ends were written down, and {done.adopted} jobs were found that nobody had entered")
    return ExitCode.DONE


def _print_csv(found: ops.CostReport) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((found.by, *_COLUMNS))
    for row in found.rows:
        group = "" if row.group is None else printable(row.group)
        writer.writerow((group, *("" if (value := getattr(row, name)) is None else value for name in _COLUMNS)))


def _show(found: ops.CostReport) -> None:
    rows = [
        (
            "-" if row.group is None else printable(row.group),
            str(row.jobs),
            f"{row.hours:.2f}",
            "not known" if row.cost is None else money(row.cost, row.currency or ""),
            str(row.unpriced or "-"),
            str(row.open or "-"),
        )
        for row in found.rows
    ]
    heads = (found.by, "jobs", "node hours", "cost", "without a price", "open")
    _tables.show(_tables.Table(heads=heads, rows=rows, dispensable=("open", "node hours")))
    for reason, jobs in found.unknown:
        _output.say(f"{jobs} {'job is' if jobs == 1 else 'jobs are'} not in the cost: {printable(reason)}")
