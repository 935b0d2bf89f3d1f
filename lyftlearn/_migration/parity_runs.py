"""What comparisons of backends showed, as the history keeps it for everybody who reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from lyftlearn.history.rows import LONGEST_VERSION
from lyftlearn.history.tables import parity_runs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_MOST_READ = 1000


@dataclass(frozen=True, kw_only=True)
class ParityRun:
    """One comparison. backends: the reference first. subjects: each with whether it is the same on all of them.

    image, source, version: what its jobs were made with; source: None where they brought no code of the user's.
    partial: whether it was asked for some subjects alone. It shows something of these, and of nothing else.
    """

    at: datetime
    backends: Sequence[str]
    holds: bool
    subjects: Mapping[str, bool]
    image: str | None
    source: str | None
    version: str
    partial: bool | None = None


def note(history: History, run: ParityRun) -> None:
    """Write a comparison down."""
    with history.connection() as connection:
        connection.execute(parity_runs.insert().values({**asdict(run), "version": run.version[:LONGEST_VERSION]}))


def between(history: History, old: str, new: str) -> list[ParityRun]:
    """Return the comparisons that looked at both backends, the newest first."""
    query = sa.select(parity_runs).order_by(parity_runs.c.at.desc(), parity_runs.c.number.desc()).limit(_MOST_READ)
    found = [{name: row[name] for name in row if name != "number"} for row in history.select(query)]
    return [ParityRun(**row) for row in found if {old, new} <= set(row["backends"])]
