"""Questions that the database answers: numbers of jobs by whatever tells them apart, and order statistics of times.

Rows of jobs never come here, only answers: memory and time do not grow with the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from lyftlearn.history.tables import Moment
from lyftlearn.history.tallies import counts
from lyftlearn.types import FailureReason

if TYPE_CHECKING:
    from lyftlearn.history.store import History

Key: TypeAlias = Literal[
    "repository", "project", "team", "owner", "model", "kind", "backend", "stage", "source", "is_shadow", "machine",
    "currency", "day",
]  # fmt: skip
OF_THE_PLATFORM = (
    FailureReason.CAPACITY,
    FailureReason.CONFIGURATION,
    FailureReason.IMAGE,
    FailureReason.PLATFORM,
    FailureReason.PREEMPTED,
)
Condition: TypeAlias = Callable[["sa.FromClause"], "sa.ColumnElement[bool]"]
"""What holds of the jobs that are counted, said of the columns of `tallies`."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many jobs have the same `key`, and how they ended.

    key: a value for each name that was asked for, in that order. open: without a known end. failed_by_platform: of the
    failed ones, those whose reason is capacity, configuration, image, platform or preempted. seconds: of all nodes of
    those that have ended, together. cost: of those whose cost is known, which `priced` counts; currency: theirs, None
    where they have several. started: those whose
    `start_up` is known. timed: those that succeeded, and whose `duration` is known. newest: when the last one was
    submitted.
    """

    key: tuple[Any, ...]
    jobs: int
    open: int
    succeeded: int
    failed: int
    failed_by_platform: int
    stopped: int
    refused: int
    fell_back: int
    seconds: float
    cost: float
    currency: str | None
    priced: int
    started: int
    timed: int
    newest: datetime


def tally(
    history: History,
    by: Sequence[Key],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[Condition] = (),
) -> list[Tally]:
    """Count the jobs that were submitted from `since` on and before `until`, grouped by what `by` names."""
    of = counts(history.dialect, since, until)
    keys = [of.c[name].label(f"key_{name}") for name in by]
    query = sa.select(*keys, *_ends(of), *_sums(of)).where(*(condition(of) for condition in where))
    query = query.group_by(*keys, *_ends(of)).having(sa.func.sum(of.c.jobs) > 0)
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in history.select(query):
        groups.setdefault(tuple(row[f"key_{name}"] for name in by), []).append(row)
    return [_tally(key, rows) for key, rows in groups.items()]


def _tally(key: tuple[Any, ...], rows: Sequence[Mapping[str, Any]]) -> Tally:
    """Add up rows that differ only in how their jobs ended: the database counts each job once, and not once a sum."""
    ended: Counter[str | None] = Counter()
    for row in rows:
        ended[row["status"]] += row["jobs"]
    currencies = {row[name] for row in rows for name in ("currency", "other_currency") if row[name] is not None}
    return Tally(
        key=key,
        jobs=ended.total(),
        open=ended[None] + ended["unknown"],
        succeeded=ended["succeeded"],
        failed=ended["failed"],
        failed_by_platform=sum(
            row["jobs"] for row in rows if row["status"] == "failed" and row["reason"] in OF_THE_PLATFORM
        ),
        stopped=ended["stopped"],
        refused=ended["refused"],
        fell_back=sum(row["jobs"] for row in rows if row["fell_back"]),
        seconds=sum(row["seconds"] or 0.0 for row in rows),
        cost=sum(row["cost"] or 0.0 for row in rows),
        currency=currencies.pop() if len(currencies) == 1 else None,
        priced=sum(row["priced"] for row in rows),
        started=sum(row["started"] for row in rows),
        timed=sum(row["timed"] for row in rows if row["status"] == "succeeded"),
        newest=max(row["newest"] for row in rows),
    )


def ordered_values(
    history: History, column: sa.ColumnElement[float], where: Sequence[sa.ColumnElement[bool]], first: int, count: int
) -> list[float]:
    """Return `count` values of a column in their order, from the `first` on, which is 0 for the smallest."""
    query = sa.select(column.label("value")).where(*where, column.is_not(None)).order_by(column)
    return [float(row["value"]) for row in history.select(query.offset(first).limit(count))]


def _ends(of: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [of.c[name] for name in ("status", "reason", "fell_back")]


def _sums(of: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [
        *(sa.func.sum(of.c[name]).label(name) for name in ("jobs", "priced", "started", "timed", "seconds", "cost")),
        sa.func.min(of.c.currency).label("currency"),
        sa.func.max(of.c.currency).label("other_currency"),
        sa.func.max(of.c.newest, type_=Moment).label("newest"),
    ]


def sum_if(condition: sa.ColumnElement[bool], number: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return the sum over rows that fulfil a condition."""
    return sa.func.sum(sa.case((condition, number), else_=0))


def count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """Return how many rows fulfil a condition. Rows of which it is unknown do not count."""
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
