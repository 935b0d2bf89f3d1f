"""Models: how their jobs end, how long they take and what they cost, on each backend and over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn.history.queries import count_if
from lyftlearn.history.tables import jobs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

WINDOW = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Jobs that have something in common. start_up, duration: means in seconds; cost: of those whose cost is known.

    None stands for what no job tells.
    """

    repository: str | None
    model: str
    backend: str
    team: str | None
    day: str | None = None
    jobs: int
    succeeded: int
    failed: int
    start_up: float | None
    duration: float | None
    cost: float | None
    currency: str | None

    @property
    def success(self) -> float | None:
        """The part that succeeded of those that ended by themselves."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


def of_all(history: History, since: datetime) -> list[Figures]:
    """Return the figures of every model on every backend."""
    columns = (jobs.c.repository, jobs.c.model, jobs.c.backend, jobs.c.team)
    query = sa.select(*columns, *_figures()).where(jobs.c.at >= since, jobs.c.shadow_of.is_(None))
    return [Figures(**row) for row in history.select(query.group_by(*columns))]


def by_day(
    history: History, since: datetime, repository: str | None, model: str, backends: Sequence[str]
) -> list[Figures]:
    """Return the figures of one model for each day and backend, the oldest first."""
    day = sa.func.substr(sa.cast(jobs.c.at, sa.Text), 1, len("2026-11-26")).label("day")
    columns = (jobs.c.repository, jobs.c.model, jobs.c.backend, jobs.c.team)
    query = sa.select(*columns, day, *_figures()).where(
        jobs.c.backend.in_(backends), jobs.c.repository.is_not_distinct_from(repository), jobs.c.model == model
    )
    query = query.where(jobs.c.at >= since, jobs.c.shadow_of.is_(None)).group_by(*columns, day).order_by(day)
    return [Figures(**row) for row in history.select(query)]


def visible(figures: Iterable[Figures], teams: Sequence[str] | None) -> list[Figures]:
    """Return the figures of these teams' jobs; of all where `teams` is None."""
    return [one for one in figures if teams is None or one.team in teams]


def merge(figures: Iterable[Figures]) -> list[Figures]:
    """Return figures that differ in their team alone as one, the model with the most jobs first."""
    found: dict[tuple[Any, ...], Figures] = {}
    for one in figures:
        key = (one.repository, one.model, one.backend, one.day)
        found[key] = _add(found[key], one) if key in found else one
    totals: dict[tuple[str | None, str], int] = {}
    for one in found.values():
        totals[one.repository, one.model] = totals.get((one.repository, one.model), 0) + one.jobs
    return sorted(found.values(), key=lambda one: (-totals[one.repository, one.model], *_texts(one)))


def _texts(one: Figures) -> tuple[str, ...]:
    return one.repository or "", one.model, one.day or "", one.backend


def _add(one: Figures, other: Figures) -> Figures:
    def mean(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return first if second is None else second
        return (first * one.jobs + second * other.jobs) / (one.jobs + other.jobs)

    cost = None if one.cost is None and other.cost is None else (one.cost or 0.0) + (other.cost or 0.0)
    return replace(
        one,
        jobs=one.jobs + other.jobs,
        succeeded=one.succeeded + other.succeeded,
        failed=one.failed + other.failed,
        start_up=mean(one.start_up, other.start_up),
        duration=mean(one.duration, other.duration),
        cost=cost,
        currency=one.currency or other.currency,
    )


def _figures() -> list[sa.ColumnElement[Any]]:
    succeeded = jobs.c.status == "succeeded"
    return [
        sa.func.count().label("jobs"),
        count_if(succeeded).label("succeeded"),
        count_if(jobs.c.status == "failed").label("failed"),
        sa.func.avg(jobs.c.start_up).label("start_up"),
        sa.func.avg(sa.case((succeeded, jobs.c.duration))).label("duration"),
        sa.func.sum(jobs.c.cost).label("cost"),
        sa.func.max(jobs.c.currency).label("currency"),
    ]


def chart(figures: Sequence[Figures], value: str) -> Mapping[str, Any] | None:
    """Return lines over days, one for each backend, ready to be drawn; None where no job tells the value."""
    points = [(one.day or "", one.backend, number) for one in figures if (number := getattr(one, value)) is not None]
    if not points:
        return None
    days = sorted({day for day, _, _ in points})
    top = max(number for _, _, number in points) or 1.0
    lines: dict[str, list[tuple[float, float]]] = {}
    for day, backend, number in points:
        x = 40 + 900 * (days.index(day) + 0.5) / len(days)
        lines.setdefault(backend, []).append((round(x, 1), round(120 - 110 * number / top, 1)))
    return {"days": (days[0], days[-1]), "top": top, "lines": sorted(lines.items())}
