"""Whether the new side does worse: each measure by each model's own jobs, and then all of them together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import evidence
from lyftlearn._migration.evidence import Day, Evidence
from lyftlearn._migration.results import INCONCLUSIVE, NO_JOBS, NOT_WORSE, WORSE, Guard, GuardedModel, Measure
from lyftlearn.history.queries import Cell, Tally, count_if, histogram, tally
from lyftlearn.history.tables import comparisons, jobs

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

FAILURES, PLATFORM_FAILURES = "failures", "platform failures"
START_UP, DURATION, COST, SHADOWS = "start-up time", "duration", "cost", "shadow differences"
SHARES = {FAILURES: 0.7, PLATFORM_FAILURES: 0.1, START_UP: 0.05, DURATION: 0.05, COST: 0.05, SHADOWS: 0.05}
"""Which part of the level each measure may use up: together they keep it."""
MOST_DIFFERING = 0.05
"""Of shadows whose artifacts differ. Trainings that draw lots without a seed differ anyway: leave the measure out."""
_FAILURES_MARGIN, _SLOW_MARGIN = 0.05, 0.2
_STEP = 1.25
_TIMES = tuple(_STEP**at for at in range(63))  # seconds, up to twelve days
_COSTS = tuple(0.001 * _STEP**at for at in range(83))  # up to 100,000 of the currency
_WITHIN = {START_UP: 3, DURATION: 1, COST: 1}  # steps by which the new side may take or cost more
_LEAST_KNOWN, _KNOWN_SHARE = 10, 5  # old jobs that say what is usual: so many, and one in so many
_PACE_DAYS = 7
Stratum: TypeAlias = tuple[str | None, str, str]  # repository, model, kind
_Days: TypeAlias = Mapping[Stratum, Sequence[Day]]


@dataclass(frozen=True)
class _Counts:
    """How many jobs of a stratum ended on each side, and how many of them badly, for one measure."""

    old: int = 0
    old_bad: int = 0
    new: int = 0
    new_bad: int = 0

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(
            self.old + other.old,
            self.old_bad + other.old_bad,
            self.new + other.new,
            self.new_bad + other.new_bad,
        )


@dataclass(frozen=True)
class _Judged:
    """What one measure says of one stratum."""

    counts: _Counts
    evidence: Evidence


def judge(history: History, config: Config, since: datetime | None, level: float, ignore: Collection[str]) -> Guard:
    """Compare both sides within each model and kind, so that a side is not blamed for what runs on it.

    Jobs that somebody stopped, and those without a known end, are left out. ignore: names of measures.
    """
    old, new = config.migration_from, str(config.migration_to)
    tallies = tally(
        history,
        ("repository", "model", "kind", "backend", "day"),
        since=since,
        where=[jobs.c.backend.in_((old, new))],
    )
    found = _measures(history, tallies, (old, new), since)
    measured = {name: strata for name, strata in found.items() if name not in ignore}
    pace = _pace(tallies, new)
    measures = tuple(_measure(name, found, level) for name, found in measured.items())
    verdict, _, more = _verdict(measures)
    ended, platform = (_together(found[name]) for name in (FAILURES, PLATFORM_FAILURES))
    p = {measure.name: measure.p for measure in measures}
    return Guard(
        verdict=verdict,
        level=level,
        measures=measures,
        by_model=tuple(_by_model(measured, level, pace)),
        more_jobs=more,
        until=_until(more, sum(pace.values())),
        p_all=p.get(FAILURES, 1.0),
        p_platform=p.get(PLATFORM_FAILURES, 1.0),
        models=len({stratum[:2] for stratum in found[FAILURES]}),
        old_jobs=ended.old,
        old_failed=ended.old_bad,
        new_jobs=ended.new,
        new_failed=ended.new_bad,
        old_failed_by_platform=platform.old_bad,
        new_failed_by_platform=platform.new_bad,
    )


def _together(strata: Mapping[Stratum, _Judged]) -> _Counts:
    return sum((one.counts for one in strata.values()), _Counts())


_Measured: TypeAlias = Mapping[str, Mapping[Stratum, _Judged]]


def _measures(
    history: History, tallies: Sequence[Tally], sides: tuple[str, str], since: datetime | None
) -> dict[str, Mapping[Stratum, _Judged]]:
    found: dict[str, Mapping[Stratum, _Judged]] = {
        name: _failures(tallies, sides[0], name) for name in (FAILURES, PLATFORM_FAILURES)
    }
    where = [jobs.c.backend.in_(sides), *([jobs.c.at >= since] if since else [])]
    succeeded = [*where, jobs.c.status == "succeeded"]
    questions = {
        START_UP: (jobs.c.start_up, _TIMES, where),
        DURATION: (jobs.c.duration, _TIMES, succeeded),
        COST: (jobs.c.cost, _COSTS, succeeded),
    }
    for name, (column, edges, conditions) in questions.items():
        cells = histogram(history, column, edges, ("repository", "model", "kind", "backend", "day"), conditions)
        found[name] = _sizes(cells, sides[0], name)
    found[SHADOWS] = _shadows(history, where)
    return found


def _failures(tallies: Sequence[Tally], old: str, name: str) -> dict[Stratum, _Judged]:
    of: Callable[[Tally], int] = {
        FAILURES: lambda one: one.failed,
        PLATFORM_FAILURES: lambda one: one.failed_by_platform,
    }[name]
    days: dict[Stratum, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
    for one in tallies:
        repository, model, kind, backend, day = one.key
        if ended := one.succeeded + one.failed:
            counts = days[repository, model, kind][day]
            at = 0 if backend == old else 2
            counts[at] += ended
            counts[at + 1] += of(one)
    return _judge(name, {stratum: [Day(*by[day]) for day in sorted(by)] for stratum, by in days.items()})


def _sizes(cells: Sequence[Cell], old: str, name: str) -> dict[Stratum, _Judged]:
    """Count what took longer or cost more than usual, which is the median of the first jobs on the old side."""
    by: dict[Stratum, dict[str, list[tuple[bool, int, int]]]] = defaultdict(lambda: defaultdict(list))
    for (repository, model, kind, backend, day), size, count in cells:
        by[repository, model, kind][day].append((backend == old, size, count))
    return _judge(
        name,
        {stratum: _days_of_sizes([days[day] for day in sorted(days)], _WITHIN[name]) for stratum, days in by.items()},
    )


def _days_of_sizes(days: Sequence[Sequence[tuple[bool, int, int]]], within: int) -> list[Day]:
    known, later = _known_sizes(days)
    if not known:
        return []
    usual = sorted(known)[len(known) // 2]
    return [
        Day(
            sum(count for is_old, _, count in day if is_old),
            sum(count for is_old, size, count in day if is_old and size > usual),
            sum(count for is_old, _, count in day if not is_old),
            sum(count for is_old, size, count in day if not is_old and size > usual + within),
        )
        for day in later
    ]


def _known_sizes(
    days: Sequence[Sequence[tuple[bool, int, int]]],
) -> tuple[list[int], Sequence[Sequence[tuple[bool, int, int]]]]:
    """Return the sizes of the first jobs on the old side, and the days without them: who teaches is not judged."""
    before = next((at for at, day in enumerate(days) if any(not is_old for is_old, _, _ in day)), len(days))
    there = sum(count for day in days[:before] for is_old, _, count in day if is_old)
    wanted, known = max(_LEAST_KNOWN, there // _KNOWN_SHARE), list[int]()
    for at, day in enumerate(days):
        known += [size for is_old, size, count in day if is_old for _ in range(count)]
        if len(known) >= wanted:
            return known, [[one for one in day if not one[0]], *days[at + 1 :]]
    return [], []


def _shadows(history: History, where: Sequence[sa.ColumnElement[bool]]) -> dict[Stratum, _Judged]:
    differs = sa.cast(comparisons.c.differences, sa.Text) != "[]"
    keys = (jobs.c.repository, jobs.c.model, jobs.c.kind)
    query = (
        sa.select(*keys, sa.func.count().label("compared"), count_if(differs).label("differing"))
        .join(jobs, jobs.c.job_id == comparisons.c.job_id)
        .where(*where)
        .group_by(*keys)
        .order_by(*keys)
    )
    return {
        (row["repository"], row["model"], row["kind"]): _Judged(
            _Counts(new=row["compared"], new_bad=row["differing"]),
            evidence.of_share(row["differing"], row["compared"], MOST_DIFFERING),
        )
        for row in history.select(query)
    }


def _judge(name: str, strata: _Days) -> dict[Stratum, _Judged]:
    """Return what is known of the strata that have jobs on both sides, in the order of their first new jobs."""
    both = {of: days for of, days in strata.items() if any(day.old for day in days) and any(day.new for day in days)}
    first = {stratum: next(at for at, day in enumerate(days) if day.new) for stratum, days in both.items()}
    return {
        stratum: _Judged(
            sum((_Counts(*day) for day in both[stratum]), _Counts()),
            evidence.of_stratum(both[stratum], _margin(name), f"{name} {stratum}"),
        )
        for stratum in sorted(both, key=lambda stratum: (first[stratum], str(stratum)))
    }


def _margin(name: str) -> float:
    return _FAILURES_MARGIN if name in (FAILURES, PLATFORM_FAILURES) else _SLOW_MARGIN


def _measure(name: str, strata: Mapping[Stratum, _Judged], level: float) -> Measure:
    together = evidence.combine([one.evidence for one in strata.values()])
    counts = _together(strata)
    verdict, more = INCONCLUSIVE, None
    if not counts.new:
        verdict = NO_JOBS
    elif together.log_worse >= -math.log(level * SHARES[name]):
        verdict = WORSE
    elif together.not_worse >= -math.log(level):
        verdict = NOT_WORSE
    else:
        more = _more_jobs(name, counts, -math.log(level) - together.not_worse)
    return Measure(
        name=name,
        verdict=verdict,
        p=min(1.0, math.exp(-max(0.0, together.log_worse)) / SHARES[name]),
        old_jobs=counts.old,
        old_bad=counts.old_bad,
        new_jobs=counts.new,
        new_bad=counts.new_bad,
        more_jobs=more,
    )


def _more_jobs(name: str, counts: _Counts, missing: float) -> int:
    """Return how many new jobs would bring what is missing, if both sides are alike."""
    if name == SHADOWS:
        return max(1, math.ceil(missing / -math.log(1 - MOST_DIFFERING)))
    rate = (counts.old_bad + 0.5) / (counts.old + 5)
    each = evidence.growth(rate, counts.old / counts.new, _margin(name))
    return max(1, math.ceil(missing / each))


def _verdict(measures: Sequence[Measure]) -> tuple[str, tuple[str, ...], int | None]:
    """Return the verdict, the measures that it is because of, and how many more jobs it needs."""
    by = {verdict: tuple(one.name for one in measures if one.verdict == verdict) for verdict in (WORSE, INCONCLUSIVE)}
    if by[WORSE]:
        return WORSE, by[WORSE], None
    if by[INCONCLUSIVE] or not any(one.verdict == NOT_WORSE for one in measures):
        return INCONCLUSIVE, by[INCONCLUSIVE], max((one.more_jobs for one in measures if one.more_jobs), default=None)
    return NOT_WORSE, (), None


def _by_model(
    measured: _Measured, level: float, pace: Mapping[tuple[str | None, str], float]
) -> Iterator[GuardedModel]:
    models = sorted({stratum[:2] for strata in measured.values() for stratum in strata}, key=str)
    of_model: dict[tuple[str | None, str], dict[str, dict[Stratum, _Judged]]] = defaultdict(lambda: defaultdict(dict))
    for name, strata in measured.items():
        for stratum, one in strata.items():
            of_model[stratum[:2]][name][stratum] = one
    for model in models:
        measures = [_measure(name, of_model[model][name], level) for name in measured]
        verdict, because, more = _verdict(measures)
        yield GuardedModel(
            repository=model[0] or "unknown",
            model=model[1],
            verdict=verdict,
            because=because,
            more_jobs=more,
            until=_until(more, pace.get(model, 0.0)),
        )


def _pace(tallies: Sequence[Tally], new: str) -> dict[tuple[str | None, str], float]:
    """Return how many jobs a day each model has had on the new side in the last week."""
    first = (datetime.now(UTC) - timedelta(days=_PACE_DAYS)).strftime("%Y-%m-%d")
    pace: dict[tuple[str | None, str], float] = defaultdict(float)
    for one in tallies:
        repository, model, _, backend, day = one.key
        if backend == new and day > first:
            pace[repository, model] += (one.succeeded + one.failed) / _PACE_DAYS
    return pace


def _until(more: int | None, a_day: float) -> datetime | None:
    return datetime.now(UTC) + timedelta(days=more / a_day) if more and a_day and more / a_day < 36500 else None
