"""What the autopilot remembers of each model, in the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn._migration.audit import ChangeState
from lyftlearn._migration.ladder import MadeWith, Standing
from lyftlearn._migration.rungs import Rung, Subject
from lyftlearn.history.tables import autopilot, flag_changes

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Where a model stands, and what was last decided of it."""

    subject: Subject
    standing: Standing
    decided_at: datetime
    decision: str
    reason: str


def recall(history: History, flags: str) -> dict[Subject, Remembered]:
    """Return everything that is remembered of a migration, which `flags` name."""
    query = sa.select(autopilot).where(autopilot.c.flags == flags)
    return {(row["repository"], row["model"]): _memory(row) for row in history.select(query)}


def remember(history: History, flags: str, entries: Sequence[Remembered]) -> None:
    """Write down what was decided, in one transaction."""
    with history.connection() as connection:
        insert = history.insert(autopilot)
        names = ("rung", "since", "judged_since", "decided_at", "decision", "reason", "worse_with")
        change = insert.on_conflict_do_update(
            index_elements=["flags", "repository", "model"], set_={name: insert.excluded[name] for name in names}
        )
        rows = sorted(
            ({"flags": flags} | _row(entry) for entry in entries), key=lambda row: (row["repository"], row["model"])
        )
        for start in range(0, len(rows), _AT_ONCE):
            connection.execute(change, rows[start : start + _AT_ONCE])


def moved_before(history: History, flags: str) -> set[Subject]:
    """Return the models that the autopilot, or anybody with it, has ever put on a rung."""
    done = flag_changes.c.state.in_((ChangeState.WRITTEN, ChangeState.DONE))
    query = sa.select(flag_changes.c.repository, flag_changes.c.model).where(
        done, flag_changes.c.flags == flags, flag_changes.c.model.is_not(None)
    )
    return {(row["repository"], row["model"]) for row in history.select(query.distinct())}


def raised_since(history: History, flags: str, since: datetime) -> int:
    """Return how many models were raised since then, or will be when the clock comes there."""
    done = flag_changes.c.state.in_((ChangeState.PLANNED, ChangeState.WRITTEN, ChangeState.DONE))
    is_step = (flag_changes.c.flags == flags) & flag_changes.c.rung_after.is_not(None)
    query = sa.select(flag_changes).where(done, is_step, flag_changes.c.at > since)
    raised = {(row["repository"], row["model"]) for row in history.select(query) if _is_raise(row)}
    return len(raised)


def last_day(now: datetime) -> datetime:
    """Return when the day began that a limit of raises is for."""
    return now - timedelta(days=1)


def _is_raise(row: Mapping[str, Any]) -> bool:
    before = Rung(row["rung_before"]).height if row["rung_before"] else 0
    return Rung(row["rung_after"]).height > before


def _memory(row: Mapping[str, Any]) -> Remembered:
    worse_with: MadeWith | None = row["worse_with"]
    standing = Standing(
        rung=Rung(row["rung"]), since=row["since"], judged_since=row["judged_since"], worse_with=worse_with
    )
    return Remembered(
        subject=(row["repository"], row["model"]),
        standing=standing,
        decided_at=row["decided_at"],
        decision=row["decision"],
        reason=row["reason"],
    )


def _row(entry: Remembered) -> dict[str, Any]:
    standing = entry.standing
    return {
        "repository": entry.subject[0],
        "model": entry.subject[1],
        "rung": str(standing.rung),
        "since": standing.since,
        "judged_since": standing.judged_since,
        "decided_at": entry.decided_at,
        "decision": str(entry.decision),
        "reason": entry.reason,
        "worse_with": None if standing.worse_with is None else dict(standing.worse_with),
    }
