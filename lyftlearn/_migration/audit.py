"""The audit log of flags: who changed what, when, why, and by which evidence. It is in the history.

A change is noted as `planned` before a flag is written, and settled afterwards: whatever dies between leaves a note.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn.history.tables import flag_changes

if TYPE_CHECKING:
    from lyftlearn.history.store import History


class ChangeState(StrEnum):
    """What became of a change.

    PLANNED: not written yet, as far as is known. WRITTEN: the flag says so; whoever is to hear of it may not know yet.
    DONE: all is over. REFUSED: a hook did not allow it. DROPPED: somebody else changed the flag meanwhile.
    """

    PLANNED = "planned"
    WRITTEN = "written"
    DONE = "done"
    REFUSED = "refused"
    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class FlagChange:
    """One change. flags: the file, or the provider. repository, model, rungs: None where it concerns many models."""

    at: datetime
    who: str
    why: str
    flags: str
    state: ChangeState = ChangeState.PLANNED
    repository: str | None = None
    model: str | None = None
    rung_before: str | None = None
    rung_after: str | None = None
    evidence: Mapping[str, Any] | None = None
    number: int | None = None


def note(history: History, changes: Sequence[FlagChange]) -> list[int]:
    """Write changes down, in one transaction, and return their numbers."""
    with history.connection() as connection:
        return [_insert(connection, change) for change in changes]


def settle(history: History, numbers: Collection[int], state: ChangeState) -> None:
    """Write down what became of changes."""
    with history.connection() as connection:
        connection.execute(
            flag_changes.update().where(flag_changes.c.number == sa.bindparam("of")).values(state=state),
            [{"of": number} for number in sorted(numbers)] or [{"of": -1}],
        )


def changes(history: History, *, states: Collection[ChangeState] = (), newest: int | None = None) -> list[FlagChange]:
    """Return what was noted, the newest first; only those in `states`, if any are given."""
    query = sa.select(flag_changes).order_by(flag_changes.c.number.desc()).limit(newest)
    found = history.select(query.where(flag_changes.c.state.in_(states)) if states else query)
    return [FlagChange(**{**row, "state": ChangeState(row["state"])}) for row in found]


def this_user() -> str:
    """Return who changes a flag from here: the operating system's user, and the machine."""
    user = "unknown"
    with suppress(OSError, KeyError):  # a container may run as somebody whom no file names
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _insert(connection: sa.Connection, change: FlagChange) -> int:
    values = {name: value for name, value in asdict(change).items() if name != "number"}
    answer = connection.execute(flag_changes.insert().values(values).returning(flag_changes.c.number))
    return int(answer.scalar_one())
