"""What took longer or cost more than usual, asked of one stratum's jobs after the other: none of them comes here.

What is usual is the median of the first jobs on the old side. Who teaches is not judged.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.evidence import Day
from lyftlearn.history.tables import jobs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_LEAST_KNOWN, _KNOWN_SHARE = 10, 5  # old jobs that say what is usual: so many, and one in so many
Stratum: TypeAlias = tuple[str | None, str, str]  # repository, model, kind


@dataclass(frozen=True, eq=False)
class Size:
    """A measure of jobs. edges: where its steps begin. within: by how many steps the new side may be larger."""

    column: sa.ColumnElement[Any]
    edges: Sequence[float]
    within: int
    of_succeeded: bool

    @property
    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What holds of the jobs that are judged."""
        return [jobs.c.status == "succeeded"] if self.of_succeeded else []


class _Shape(NamedTuple):
    """Which conditions a question about a stratum has."""

    is_named: bool
    is_since: bool


_Sizes: TypeAlias = tuple[tuple[str, Size], ...]


class Known(NamedTuple):
    """How many jobs of a day have a size, on the old and on the new side."""

    old: int
    new: int


@dataclass(frozen=True)
class Sides:
    """The jobs of both sides that were submitted from `since` on."""

    history: History
    old: str
    new: str
    since: datetime | None

    def days(
        self, stratum: Stratum, sizes: Mapping[str, Size], known: Mapping[str, Mapping[str, Known]]
    ) -> dict[str, list[Day]]:
        """Return for each size how many jobs of a stratum were larger than usual. known: by size and day."""
        taught = {name: until for name in sizes if (until := _taught_until(known[name])) is not None}
        if not taught:
            return {}
        query = _middle_sizes(tuple((name, sizes[name]) for name in taught), self._shape(stratum))
        untils = {f"until {name}": until for name, until in taught.items()}
        (middle,) = self.history.select(query, {**self._values(stratum, self.old), **untils})
        usual = {name: _usual(middle[name], sizes[name].edges) for name in taught}
        large = {side: self._count_large(stratum, side, sizes, usual) for side in (self.old, self.new)}
        return {name: self._days(name, known[name], until, large) for name, until in taught.items()}

    def _days(
        self, name: str, known: Mapping[str, Known], until: str, large: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ) -> list[Day]:
        found = []
        for day in sorted(known):
            if day >= until:
                of = known[day]
                old, new = (large[side].get(day, {}).get(name, 0) for side in (self.old, self.new))
                found.append(Day(of.old, min(old, of.old), of.new, min(new, of.new)))
        return [found[0]._replace(old=0, old_bad=0), *found[1:]] if found else []

    def _count_large(
        self, stratum: Stratum, side: str, sizes: Mapping[str, Size], usual: Mapping[str, int]
    ) -> dict[str, Mapping[str, Any]]:
        edges = dict.fromkeys(sizes, math.inf)
        for name, step in usual.items():
            largest = step + (sizes[name].within if side == self.new else 0)
            if largest < len(sizes[name].edges):
                edges[name] = sizes[name].edges[largest]
        query = _large_by_day(tuple(sizes.items()), self._shape(stratum))
        rows = self.history.select(query, {**self._values(stratum, side), **edges})
        return {row["day"]: row for row in rows}

    def _values(self, stratum: Stratum, side: str) -> dict[str, Any]:
        repository, model, kind = stratum
        named = {"repository": repository} if repository is not None else {}
        since = {"since": self.since} if self.since else {}
        return {**named, "model": model, "kind": kind, "side": side, **since}

    def _shape(self, stratum: Stratum) -> _Shape:
        return _Shape(is_named=stratum[0] is not None, is_since=self.since is not None)


@cache
def _middle_sizes(sizes: _Sizes, shape: _Shape) -> sa.Select[*tuple[Any, ...]]:
    """Return the query for the medians of jobs of one stratum and side, each up to a day."""
    return sa.select(*(_middle_size(name, size, shape).label(name) for name, size in sizes))


def _middle_size(name: str, size: Size, shape: _Shape) -> sa.ScalarSelect[float]:
    conditions = [*_of_stratum(shape), size.column.is_not(None), *size.conditions]
    conditions.append(jobs.c.day <= sa.bindparam(f"until {name}", type_=sa.String()))
    below = sa.select(sa.func.count() // 2).where(*conditions).scalar_subquery()
    query = sa.select(size.column).where(*conditions).order_by(size.column)
    return query.offset(below).limit(sa.literal_column("1")).scalar_subquery()


@cache
def _large_by_day(sizes: _Sizes, shape: _Shape) -> sa.Select[*tuple[Any, ...]]:
    """Return the query that counts by day how many are as large as an edge, which has the name of the size."""
    one: sa.ColumnElement[int] = sa.literal_column("1", sa.Integer)
    columns = (
        sa.func.count(sa.case((sa.and_(size.column >= sa.bindparam(name, type_=sa.Float()), *size.conditions), one)))
        for name, size in sizes
    )
    labelled = (column.label(name) for column, (name, _) in zip(columns, sizes, strict=True))
    return sa.select(jobs.c.day, *labelled).where(*_of_stratum(shape)).group_by(jobs.c.day)


def _of_stratum(shape: _Shape) -> list[sa.ColumnElement[bool]]:
    return [
        jobs.c.repository == sa.bindparam("repository") if shape.is_named else jobs.c.repository.is_(None),
        jobs.c.model == sa.bindparam("model"),
        jobs.c.kind == sa.bindparam("kind"),
        jobs.c.backend == sa.bindparam("side"),
        *([jobs.c.at >= sa.bindparam("since")] if shape.is_since else []),
    ]


def _taught_until(known: Mapping[str, Known]) -> str | None:
    """Return the day by which enough jobs of the old side have said what is usual; None if there is none."""
    days = sorted(known)
    before = next((at for at, day in enumerate(days) if known[day].new), len(days))
    wanted = max(_LEAST_KNOWN, sum(known[day].old for day in days[:before]) // _KNOWN_SHARE)
    seen = 0
    for day in days:
        seen += known[day].old
        if seen >= wanted:
            return day
    return None


def _usual(middle: float | None, edges: Sequence[float]) -> int:
    """Return the step of the median, if there is one."""
    return len(edges) if middle is None else bisect_right(edges, middle)
