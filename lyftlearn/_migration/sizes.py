"""What took longer or cost more than usual, asked of one stratum's jobs after the other: none of them comes here.

What is usual is the median of the first jobs on the old side. Who teaches is not judged.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.evidence import Day
from lyftlearn.history.queries import count_if
from lyftlearn.history.tables import jobs

if TYPE_CHECKING:
    from lyftlearn.history.store import History

EVER = datetime.min.replace(tzinfo=UTC)
"""When no job was submitted yet."""
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
    def value(self) -> sa.ColumnElement[Any]:
        """Return what one job has, None where it is not judged."""
        return sa.case((jobs.c.status == "succeeded", self.column)) if self.of_succeeded else self.column


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
        query = _middle_sizes(tuple((name, sizes[name]) for name in taught), is_named=stratum[0] is not None)
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
        query = _large_by_day(tuple(sizes.items()), is_named=stratum[0] is not None)
        rows = self.history.select(query, {**self._values(stratum, side), **edges})
        return {row["day"]: row for row in rows}

    def _values(self, stratum: Stratum, side: str) -> dict[str, Any]:
        repository, model, kind = stratum
        named = {"repository": repository} if repository is not None else {}
        return {**named, "model": model, "kind": kind, "side": side, "since": self.since or EVER}


@cache
def _middle_sizes(sizes: _Sizes, *, is_named: bool) -> sa.Select[*tuple[Any, ...]]:
    """Return the query for the medians of jobs of one stratum and side, each up to a day."""
    return sa.select(*(_middle_size(name, size, is_named=is_named).label(name) for name, size in sizes))


def _middle_size(name: str, size: Size, *, is_named: bool) -> sa.ScalarSelect[float]:
    conditions = [*_of_stratum(is_named=is_named), size.column.is_not(None)]
    conditions += [jobs.c.status == "succeeded"] if size.of_succeeded else []
    conditions.append(jobs.c.day <= sa.bindparam(f"until {name}", type_=sa.String()))
    below = sa.select(sa.func.count() // 2).where(*conditions).scalar_subquery()
    query = sa.select(size.column).where(*conditions).order_by(size.column)
    return query.offset(below).limit(sa.literal_column("1")).scalar_subquery()


@cache
def _large_by_day(sizes: _Sizes, *, is_named: bool) -> sa.Select[*tuple[Any, ...]]:
    """Return the query that counts by day how many are as large as an edge, which has the name of the size."""
    columns = (count_if(size.value >= sa.bindparam(name, type_=sa.Float())).label(name) for name, size in sizes)
    return sa.select(jobs.c.day, *columns).where(*_of_stratum(is_named=is_named)).group_by(jobs.c.day)


def _of_stratum(*, is_named: bool) -> list[sa.ColumnElement[bool]]:
    return [
        jobs.c.repository == sa.bindparam("repository") if is_named else jobs.c.repository.is_(None),
        jobs.c.model == sa.bindparam("model"),
        jobs.c.kind == sa.bindparam("kind"),
        jobs.c.backend == sa.bindparam("side"),
        jobs.c.at >= sa.bindparam("since"),
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
