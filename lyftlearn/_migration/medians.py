"""Medians of times with their intervals, by model and side: of a thousand values in their order three come here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import statistics
from lyftlearn._migration.statistics import Interval
from lyftlearn.history.batches import ask_each, parameter
from lyftlearn.history.tables import Moment, jobs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

START_UP, DURATION = "start_up", "duration"
UNKNOWN = "unknown"  # the repository of jobs that come from none


class Which(NamedTuple):
    """The jobs of one model, or of all, on one side. model: its repository and its name."""

    model: tuple[str, str] | None
    backend: str
    is_shadow: bool = False


Medians: TypeAlias = Mapping[tuple[str, Which], Interval]
"""By measure, and by whose jobs."""


def medians(history: History, counts: Mapping[tuple[str, Which], int], since: datetime | None) -> Medians:
    """Return the median of each, with its interval: of jobs submitted since then. counts: how many values it has."""
    wanted = {of: count for of, count in counts.items() if count}
    asked = [(_question(*of, since), _parameters(of[1], count, since)) for of, count in wanted.items()]
    with history.one_connection():
        answers = zip(wanted.items(), ask_each(history, asked), strict=True)
        return {of: _interval(count, rows) for (of, count), rows in answers if rows}


def _interval(count: int, rows: Iterable[Mapping[str, Any]]) -> Interval:
    found = list(rows)
    low, high = (found[0]["low"], found[0]["high"]) if statistics.median_rank(count) else (None, None)
    return Interval(median(row["value"] for row in found), low, high)


def _parameters(which: Which, count: int, since: datetime | None) -> dict[str, Any]:
    repository, model = which.model or (UNKNOWN, None)
    found: dict[str, Any] = {"backend": which.backend}
    found |= {"model": model} if model is not None else {}
    found |= {"repository": repository} if repository != UNKNOWN else {}
    found |= {"since": since} if since else {}
    first = max(statistics.median_rank(count) - 1, 0)
    some = {"first": first, "count": count - 2 * first, "below": (count - 1) // 2 - first, "both": 2 - count % 2}
    return found | some


def _question(measure: str, which: Which, since: datetime | None) -> _Values:
    return _Values(
        measure=measure,
        is_of_model=which.model is not None,
        is_named=which.model is not None and which.model[0] != UNKNOWN,
        is_shadow=which.is_shadow,
        is_since=since is not None,
    )


@dataclass(frozen=True, kw_only=True)
class _Values:
    """The question for the first, the last and the middle ones of `count` values from the `first` on."""

    measure: str
    is_of_model: bool
    is_named: bool
    is_shadow: bool
    is_since: bool

    def query(self, number: int) -> sa.Select[*tuple[Any, ...]]:
        first, count, below, both = (
            parameter(name, number, sa.Integer()) for name in ("first", "count", "below", "both")
        )
        value = jobs.c[self.measure]
        ordered = sa.select(value.label("value")).where(*self._conditions(number)).order_by(value)
        some = ordered.offset(first).limit(count).subquery("some")
        low, high = (of(some.c.value).over().label(name) for name, of in (("low", sa.func.min), ("high", sa.func.max)))
        return sa.select(some.c.value, low, high).order_by(some.c.value).offset(below).limit(both)

    def _conditions(self, number: int) -> list[sa.ColumnElement[bool]]:
        of = jobs.c
        found = [of.backend == parameter("backend", number), of[self.measure].is_not(None)]
        found += [of.at >= parameter("since", number, Moment())] if self.is_since else []
        found.append(of.shadow_of.is_not(None) if self.is_shadow else of.shadow_of.is_(None))
        if self.is_of_model:
            named = of.repository == parameter("repository", number) if self.is_named else of.repository.is_(None)
            found += [named, of.model == parameter("model", number)]
        if self.measure == DURATION:
            found.append(of.status == "succeeded")
        return found
