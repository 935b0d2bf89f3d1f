"""What took longer or cost more than usual, asked of each stratum's jobs: none of them comes here.

What is usual is the median of the first jobs on the old side. Who teaches is not judged.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.evidence import Day
from lyftlearn.history.batches import ask_each, parameter
from lyftlearn.history.tables import jobs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_NEVER = ""  # before any day
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


_Known: TypeAlias = Mapping[str, Mapping[str, Known]]  # by size and day
_Steps: TypeAlias = Mapping[str, int]  # by size
_ByDay: TypeAlias = Mapping[str, Mapping[str, Any]]


class _Large(NamedTuple):
    """How many jobs of each day were larger than usual, by size, on the old and on the new side."""

    old: _ByDay
    new: _ByDay


@dataclass(frozen=True)
class Sides:
    """The jobs of both sides that were submitted from `since` on."""

    history: History
    old: str
    new: str
    since: datetime | None

    def days(self, sizes: Mapping[str, Size], known: Mapping[Stratum, _Known]) -> dict[Stratum, dict[str, list[Day]]]:
        """Return for each stratum and size how many jobs were larger than usual. known: by size and day."""
        taught = {
            stratum: {name: until for name in sizes if (until := _taught_until(of[name])) is not None}
            for stratum, of in known.items()
        }
        first = {stratum: min(of.values()) for stratum, of in taught.items() if of}
        with self.history.one_connection():
            usual = self._usual(sizes, {stratum: taught[stratum] for stratum in first})
            large = {side: self._count_large(sizes, usual, first, side) for side in (self.old, self.new)}
        found: dict[Stratum, dict[str, list[Day]]] = {stratum: {} for stratum in known}
        for stratum in usual:
            sides = _Large(large[self.old][stratum], large[self.new][stratum])
            for name, until in taught[stratum].items():
                found[stratum][name] = _days(name, known[stratum][name], until, sides)
        return found

    def _usual(self, sizes: Mapping[str, Size], taught: Mapping[Stratum, Mapping[str, str]]) -> dict[Stratum, _Steps]:
        """Return the step of the median of each size, of the old jobs up to the day until which they teach."""
        of = tuple(sizes.items())
        asked = [
            (
                _Middles(of, self._shape(stratum)),
                self._values(stratum, self.old) | {f"until {name}": until.get(name, _NEVER) for name in sizes},
            )
            for stratum, until in taught.items()
        ]
        answers = ask_each(self.history, asked)
        return {
            stratum: {name: _step(row[name], sizes[name].edges) for name in taught[stratum]}
            for stratum, (row,) in zip(taught, answers, strict=True)
        }

    def _count_large(
        self, sizes: Mapping[str, Size], usual: Mapping[Stratum, _Steps], first: Mapping[Stratum, str], side: str
    ) -> dict[Stratum, _ByDay]:
        """Return how many jobs were larger than usual. first: the day from which they are counted."""
        of = tuple(sizes.items())
        asked = [
            (
                _LargeByDay(of, self._shape(stratum)),
                self._values(stratum, side) | self._edges(sizes, steps, side) | {"first": first[stratum]},
            )
            for stratum, steps in usual.items()
        ]
        answers = ask_each(self.history, asked)
        return {stratum: {row["day"]: row for row in rows} for stratum, rows in zip(usual, answers, strict=True)}

    def _edges(self, sizes: Mapping[str, Size], usual: _Steps, side: str) -> dict[str, float]:
        """Return from where on a job is larger than usual; none is where nothing is usual, or beyond the last edge."""
        edges = dict.fromkeys(sizes, math.inf)
        for name, step in usual.items():
            largest = step + (sizes[name].within if side == self.new else 0)
            if largest < len(sizes[name].edges):
                edges[name] = sizes[name].edges[largest]
        return edges

    def _values(self, stratum: Stratum, side: str) -> dict[str, Any]:
        repository, model, kind = stratum
        named = {"repository": repository} if repository is not None else {}
        since = {"since": self.since} if self.since else {}
        return {**named, "model": model, "kind": kind, "side": side, **since}

    def _shape(self, stratum: Stratum) -> _Shape:
        return _Shape(is_named=stratum[0] is not None, is_since=self.since is not None)


def _days(name: str, known: Mapping[str, Known], until: str, large: _Large) -> list[Day]:
    found = []
    for day in sorted(known):
        if day >= until:
            of = known[day]
            old, new = (side[day][name] if day in side else 0 for side in large)
            found.append(Day(of.old, min(old, of.old), of.new, min(new, of.new)))
    return [found[0]._replace(old=0, old_bad=0), *found[1:]] if found else []


@dataclass(frozen=True)
class _Middles:
    """The question for the medians of jobs of one stratum and side, each up to a day."""

    sizes: _Sizes
    shape: _Shape

    def query(self, number: int) -> sa.Select[*tuple[Any, ...]]:
        """Return the query with the parameters of a number."""
        return sa.select(*(self._middle(name, size, number).label(name) for name, size in self.sizes))

    def _middle(self, name: str, size: Size, number: int) -> sa.ScalarSelect[float]:
        conditions = [*_of_stratum(self.shape, number), size.column.is_not(None), *size.conditions]
        conditions.append(jobs.c.day <= parameter(f"until {name}", number, sa.String()))
        below = sa.select(sa.func.count() // 2).where(*conditions).scalar_subquery()
        query = sa.select(size.column).where(*conditions).order_by(size.column)
        return query.offset(below).limit(sa.literal_column("1")).scalar_subquery()


@dataclass(frozen=True)
class _LargeByDay:
    """The question for how many jobs of each day from the first on are as large as an edge, named as the size."""

    sizes: _Sizes
    shape: _Shape

    def query(self, number: int) -> sa.Select[*tuple[Any, ...]]:
        """Return the query with the parameters of a number."""
        counts = (self._count(name, size, number).label(name) for name, size in self.sizes)
        is_counted = jobs.c.day >= parameter("first", number)
        query = sa.select(jobs.c.day, *counts).where(*_of_stratum(self.shape, number), is_counted)
        return query.group_by(jobs.c.day)

    def _count(self, name: str, size: Size, number: int) -> sa.ColumnElement[int]:
        is_large = size.column >= parameter(name, number, sa.Float())
        return sa.func.count(sa.case((sa.and_(is_large, *size.conditions), sa.literal_column("1", sa.Integer))))


def _of_stratum(shape: _Shape, number: int) -> list[sa.ColumnElement[bool]]:
    of = jobs.c
    return [
        of.repository == parameter("repository", number) if shape.is_named else of.repository.is_(None),
        of.model == parameter("model", number),
        of.kind == parameter("kind", number),
        of.backend == parameter("side", number),
        *([of.at >= parameter("since", number)] if shape.is_since else []),
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


def _step(middle: float | None, edges: Sequence[float]) -> int:
    """Return the step of the median, if there is one."""
    return len(edges) if middle is None else bisect_right(edges, middle)
