"""The options of `migration` and its views."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from lyftlearn.cli import _job_options

Adder = Callable[[argparse.ArgumentParser], None]


def add(command: argparse.ArgumentParser) -> None:
    """Add every view."""
    views = command.add_subparsers(dest="_function", metavar="VIEW", required=True)
    for view, (title, add) in _MIGRATION.items():
        made = _job_options.subparser(views, view, title)
        if view != "autopilot":
            _job_options.since(made, "only jobs submitted since", "by default 30d")
        made.add_argument("--migration", metavar="NAME", help="this one of `[migrations]` (that of this `backend`)")
        add(made)
        _job_options.common(made)


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--html", metavar="FILE", help="write a page with charts, which needs no network")


def _no_more(_: argparse.ArgumentParser) -> None:
    """Take the usual options only."""


def _guard(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--level", metavar="P", type=float, help="how often it may be wrong where both sides are alike (0.02)"
    )
    command.add_argument(
        "--ignore", metavar="MEASURE", action="append", help="what is not judged, such as 'start-up time'; repeatable"
    )


def _switch(command: argparse.ArgumentParser) -> None:
    command.add_argument("flags", metavar="FILE", help="a flagd file with the other flags")
    command.add_argument("--dry-run", action="store_true", help="write nothing, and say what would change")
    command.add_argument(
        "--replace-broken", action="store_true", help="also if the file that jobs read is broken: its content is lost"
    )
    command.add_argument("--why", metavar="TEXT", help="the reason, for the audit log; needed without --dry-run")


def _autopilot(command: argparse.ArgumentParser) -> None:
    command.add_argument("--once", action="store_true", help="look once, and end: for cron and pipelines")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


_MIGRATION: dict[str, tuple[str, Adder]] = {
    "report": ("say which jobs would run on the new backend, and what stands against the others", _report),
    "status": ("say how far the migration is, and how jobs fare on either side", _no_more),
    "autopilot": ("raise, lower or hold each model by what is shown of it", _autopilot),
    "guard": ("end with 12 if jobs do worse on the new side, however often it is asked", _guard),
    "switch": ("put other flags in place, or say which jobs would go elsewhere by them", _switch),
}
