"""Questions that the database answers: numbers of jobs by whatever tells them apart, and order statistics of times.

Rows of jobs never come here, only answers: memory and time do not grow with the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn.history.tables import Moment, jobs
from lyftlearn.types import FailureReason

if TYPE_CHECKING:
    from lyftlearn.history.store import History

Key: TypeAlias = Literal[
    "repository", "project", "team", "owner", "model", "kind", "backend", "stage", "is_shadow", "machine", "currency",
    "day", "hour",
]  # fmt: skip
OF_THE_PLATFORM = (
    FailureReason.CAPACITY,
    FailureReason.CONFIGURATION,
    FailureReason.IMAGE,
    FailureReason.PLATFORM,
    FailureReason.PREEMPTED,
)
_LENGTHS = {"day": len("2026-11-26"), "hour": len("2026-11-26 20")}


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
    where: Sequence[sa.ColumnElement[bool]] = (),
) -> list[Tally]:
    """Count the jobs that were submitted from `since` on and before `until`, grouped by what `by` names.

    where: further conditions over `lyftlearn.history.tables.jobs`.
    """
    keys = [_key(name, history.dialect).label(f"key_{name}") for name in by]
    query = sa.select(*keys, *_ends(), *_sums()).where(*where, *_within(since, until))
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in history.select(query.group_by(*keys, *_ends())):
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
        failed_by_platform=sum(row["jobs"] for row in rows if row["status"] == "failed" and row["by_platform"]),
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


class Cell(NamedTuple):
    """How many jobs have the same `key`, and a value of the same size. size: how many of the edges it reaches."""

    key: tuple[Any, ...]
    size: int
    jobs: int


def histogram(
    history: History,
    column: sa.ColumnElement[float],
    edges: Sequence[float],
    by: Sequence[Key],
    where: Sequence[sa.ColumnElement[bool]],
) -> list[Cell]:
    """Count the jobs whose value in a column is known by its size, grouped by what `by` names, in the keys' order."""
    keys = [_key(name, history.dialect).label(f"key_{name}") for name in by]
    terms = [sa.case((column >= edge, 1), else_=0) for edge in edges]
    size = sum(terms[1:], terms[0]).label("size")
    query = sa.select(*keys, size, sa.func.count().label("jobs")).where(*where, column.is_not(None))
    rows = history.select(query.group_by(*keys, size).order_by(*keys, size))
    return [Cell(tuple(row[f"key_{name}"] for name in by), row["size"], row["jobs"]) for row in rows]


def ordered_values(
    history: History, column: sa.ColumnElement[float], where: Sequence[sa.ColumnElement[bool]], first: int, count: int
) -> list[float]:
    """Return `count` values of a column in their order, from the `first` on, which is 0 for the smallest."""
    query = sa.select(column.label("value")).where(*where, column.is_not(None)).order_by(column)
    return [float(row["value"]) for row in history.select(query.offset(first).limit(count))]


def _within(since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    return [*([jobs.c.at >= since] if since else []), *([jobs.c.at < until] if until else [])]


def _key(name: Key, dialect: str) -> sa.ColumnElement[Any]:
    if name == "is_shadow":
        return jobs.c.shadow_of.is_not(None)
    if name in _LENGTHS:
        if dialect == "sqlite":  # keeps moments as texts
            return sa.func.substr(jobs.c.at, 1, _LENGTHS[name], type_=sa.Text)
        return sa.func.to_char(jobs.c.at, "YYYY-MM-DD HH24"[: 15 if name == "hour" else 10], type_=sa.Text)
    return jobs.c[name]


def _ends() -> list[sa.ColumnElement[Any]]:
    by_platform = sa.case((jobs.c.reason.in_(OF_THE_PLATFORM), 1), else_=0).label("by_platform")
    return [jobs.c.status, by_platform, jobs.c.fell_back]


def _sums() -> list[sa.ColumnElement[Any]]:
    return [
        sa.func.count().label("jobs"),
        sa.func.count(jobs.c.cost).label("priced"),
        sa.func.count(jobs.c.start_up).label("started"),
        sa.func.count(jobs.c.duration).label("timed"),
        sa.func.sum(jobs.c.duration * sa.func.coalesce(jobs.c.nodes, 1)).label("seconds"),
        sa.func.sum(jobs.c.cost).label("cost"),
        sa.func.min(jobs.c.currency).label("currency"),
        sa.func.max(jobs.c.currency).label("other_currency"),
        sa.func.max(jobs.c.at, type_=Moment).label("newest"),
    ]


def count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """Return how many rows fulfil a condition. Rows of which it is unknown do not count."""
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
