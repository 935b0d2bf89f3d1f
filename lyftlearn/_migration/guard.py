"""Whether the new side does worse: each measure by each model's own jobs, and then all of them together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import evidence
from lyftlearn._migration.evidence import Day, Evidence
from lyftlearn._migration.results import INCONCLUSIVE, NO_JOBS, NOT_WORSE, WORSE, Guard, GuardedModel, Measure
from lyftlearn._migration.sizes import Known, Sides, Size, Stratum
from lyftlearn.history.queries import OF_THE_PLATFORM, count_if
from lyftlearn.history.tables import comparisons, jobs
from lyftlearn.history.tallies import counts
from lyftlearn.rollout import PARITY

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
_ENOUGH = 5
"""New jobs of a model and kind, from which on a verdict on others waits for one on these, too."""
_STEP = 1.25
_TIMES = tuple(_STEP**at for at in range(63))  # seconds, up to twelve days
_COSTS = tuple(0.001 * _STEP**at for at in range(83))  # up to 100,000 of the currency
_SIZES = {
    START_UP: Size(jobs.c.start_up, _TIMES, within=3, of_succeeded=False),
    DURATION: Size(jobs.c.duration, _TIMES, within=1, of_succeeded=True),
    COST: Size(jobs.c.cost, _COSTS, within=1, of_succeeded=True),
}
_PACE_DAYS = 7
_WIDEST_MARGIN = 0.4
Model: TypeAlias = tuple[str | None, str]  # repository, model
_Days: TypeAlias = Mapping[Stratum, Sequence[Day]]


@dataclass(frozen=True)
class Tolerance:
    """How sure a verdict must be.

    slack: by how many times the margins of a model are wider than usual; None where it is only asked whether it is
    worse. most_differing: the share of shadows whose artifacts may differ.
    """

    level: float
    slack: Callable[[Model], float | None] = lambda _: 1.0
    most_differing: float = MOST_DIFFERING


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
    sides = Sides(history, config.migration_from, str(config.migration_to), since)
    strata = _strata(sides)
    found = _measures(sides, strata, Tolerance(level))
    measured = {name: judged for name, judged in found.items() if name not in ignore}
    pace = _pace(strata)
    answers = [_answer(name, judged, level) for name, judged in measured.items()]
    verdict, _, lacking = _verdict(answers)
    measures = tuple(one.measure for one in answers)
    ended, platform = (_together(found[name]) for name in (FAILURES, PLATFORM_FAILURES))
    p = {measure.name: measure.p for measure in measures}
    return Guard(
        verdict=verdict,
        level=level,
        measures=measures,
        by_model=tuple(_by_model(measured, Tolerance(level), pace)),
        more_jobs=sum(lacking.values()) or None,
        until=_until(lacking, pace),
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


def judge_models(
    history: History, config: Config, since: datetime | None, ignore: Collection[str], tolerance: Tolerance
) -> list[GuardedModel]:
    """Return the verdict on each model, which it keeps to the level of `tolerance` however often it is asked."""
    sides = Sides(history, config.migration_from, str(config.migration_to), since)
    strata = _strata(sides)
    found = _measures(sides, strata, tolerance)
    measured = {name: judged for name, judged in found.items() if name not in ignore}
    return list(_by_model(measured, tolerance, _pace(strata)))


def _together(strata: Mapping[Stratum, _Judged]) -> _Counts:
    return sum((one.counts for one in strata.values()), _Counts())


_Measured: TypeAlias = Mapping[str, Mapping[Stratum, _Judged]]


class _Counted(NamedTuple):
    """What the jobs of one day and side have in common with those of no other."""

    ended: int
    failed: int
    failed_by_platform: int
    started: int
    timed: int
    priced: int


_Strata: TypeAlias = Mapping[Stratum, Mapping[str, tuple[_Counted, _Counted]]]  # by day, the old side first
_NOTHING = _Counted(0, 0, 0, 0, 0, 0)
_KNOWN = {START_UP: "started", DURATION: "timed", COST: "priced"}


def _strata(sides: Sides) -> _Strata:
    """Return the jobs of each stratum by day, of those strata that have some on both sides."""
    of = counts(sides.history.dialect, sides.since, None)
    keys = [of.c[name] for name in ("repository", "model", "kind", "day", "backend")]
    ours = of.c.backend.in_((sides.old, sides.new)) & (sa.func.coalesce(of.c.source, "") != PARITY)
    query = sa.select(*keys, *_sums(of)).where(ours).group_by(*keys)
    found: dict[Stratum, dict[str, tuple[_Counted, _Counted]]] = defaultdict(dict)
    with sides.history.connection() as connection:
        for row in map(tuple, connection.execute(query).all()):
            repository, model, kind, day, backend, *numbers = row
            counted, days = _Counted(*numbers), found[repository, model, kind]
            old, new = days.get(day, (_NOTHING, _NOTHING))
            days[day] = (counted, new) if backend == sides.old else (old, counted)
    return {stratum: days for stratum, days in found.items() if all(map(any, _present(days)))}


def _present(days: Mapping[str, tuple[_Counted, _Counted]]) -> tuple[list[int], list[int]]:
    """Return for each side how many jobs of each day are known to have ended or started."""
    return [of[0].ended + of[0].started for of in days.values()], [of[1].ended + of[1].started for of in days.values()]


def _sums(of: sa.Subquery) -> list[sa.ColumnElement[Any]]:
    succeeded, failed = of.c.status == "succeeded", of.c.status == "failed"
    conditions = {
        "ended": (succeeded | failed, of.c.jobs),
        "failed": (failed, of.c.jobs),
        "failed_by_platform": (failed & of.c.reason.in_(OF_THE_PLATFORM), of.c.jobs),
        "started": (sa.true(), of.c.started),
        "timed": (succeeded, of.c.timed),
        "priced": (succeeded, of.c.priced),
    }
    return [sa.func.sum(sa.case((which, number), else_=0)).label(name) for name, (which, number) in conditions.items()]


def _measures(sides: Sides, strata: _Strata, tolerance: Tolerance) -> dict[str, Mapping[Stratum, _Judged]]:
    """Return what each measure says. A server counts sizes while ends are judged."""
    with sides.history.beside(lambda: _days_of_sizes(sides, strata)) as days_of_sizes:
        judged = _judge_all(_days_of_ends(strata), tolerance)
        judged |= _judge_all(days_of_sizes(), tolerance)
    return judged | {SHADOWS: _shadows(sides, tolerance.most_differing)}


def _judge_all(days: Mapping[str, _Days], tolerance: Tolerance) -> dict[str, Mapping[Stratum, _Judged]]:
    return {name: _judge(name, of, tolerance) for name, of in days.items()}


def _days_of_ends(strata: _Strata) -> dict[str, _Days]:
    ordered = {stratum: [by[day] for day in sorted(by)] for stratum, by in strata.items()}
    return {
        FAILURES: {
            stratum: [Day(old.ended, old.failed, new.ended, new.failed) for old, new in days]
            for stratum, days in ordered.items()
        },
        PLATFORM_FAILURES: {
            stratum: [Day(old.ended, old.failed_by_platform, new.ended, new.failed_by_platform) for old, new in days]
            for stratum, days in ordered.items()
        },
    }


def _days_of_sizes(sides: Sides, strata: _Strata) -> dict[str, _Days]:
    found = sides.days(_SIZES, {stratum: _size_counts(by) for stratum, by in strata.items()})
    return {name: {stratum: of[name] for stratum, of in found.items() if name in of} for name in _SIZES}


def _size_counts(days: Mapping[str, tuple[_Counted, _Counted]]) -> dict[str, dict[str, Known]]:
    """Return by size and day how many jobs of either side have it."""
    return {
        size: {
            day: Known(getattr(old, name), getattr(new, name))
            for day, (old, new) in days.items()
            if getattr(old, name) or getattr(new, name)
        }
        for size, name in _KNOWN.items()
    }


def _shadows(sides: Sides, most: float) -> dict[Stratum, _Judged]:
    differs = sa.cast(comparisons.c.differences, sa.Text) != "[]"
    keys = (jobs.c.repository, jobs.c.model, jobs.c.kind)
    query = (
        sa.select(*keys, sa.func.count().label("compared"), count_if(differs).label("differing"))
        .outerjoin_from(comparisons, jobs, jobs.c.job_id == comparisons.c.job_id)  # so comparisons are read first
        .where(
            sa.func.coalesce(jobs.c.backend, "").in_((sides.old, sides.new)),
            *([jobs.c.at >= sides.since] if sides.since else []),
        )
        .group_by(*keys)
        .order_by(*keys)
    )
    return {
        (row["repository"], row["model"], row["kind"]): _Judged(
            _Counts(new=row["compared"], new_bad=row["differing"]),
            evidence.of_share(row["differing"], row["compared"], most),
        )
        for row in sides.history.select(query)
    }


def _judge(name: str, strata: _Days, tolerance: Tolerance) -> dict[Stratum, _Judged]:
    """Return what is known of the strata that have jobs on both sides, in the order of their first new jobs."""
    both = {of: days for of, days in strata.items() if any(day.old for day in days) and any(day.new for day in days)}
    first = {stratum: next(at for at, day in enumerate(days) if day.new) for stratum, days in both.items()}
    return {
        stratum: _Judged(
            _Counts(*map(sum, zip(*both[stratum], strict=True))),
            evidence.of_stratum(both[stratum], _margin(name, tolerance.slack(stratum[:2])), f"{name} {stratum}"),
        )
        for stratum in sorted(both, key=lambda stratum: (first[stratum], str(stratum)))
    }


def _margin(name: str, slack: float | None = 1.0) -> float | None:
    if slack is None:
        return None
    usual = _FAILURES_MARGIN if name in (FAILURES, PLATFORM_FAILURES) else _SLOW_MARGIN
    return min(usual * slack, _WIDEST_MARGIN)


class _Answer(NamedTuple):
    """A measure, and how many more jobs each stratum needs for `not worse`, if both sides are alike."""

    measure: Measure
    lacking: Mapping[Stratum, int]


def _answer(name: str, strata: Mapping[Stratum, _Judged], level: float, slack: float | None = 1.0) -> _Answer:
    log_worse = evidence.combine([one.evidence for one in strata.values()]).log_worse
    margin, ends = _margin(name, slack), _together(strata)
    lacking = {} if margin is None else _lacking(name, strata, level, margin)
    verdict = INCONCLUSIVE
    if not ends.new:
        verdict = NO_JOBS
    elif log_worse >= -math.log(level * SHARES[name]):
        verdict = WORSE
    elif margin is not None and not lacking:
        verdict = NOT_WORSE
    return _Answer(_measure(name, verdict, log_worse, ends, lacking), lacking if verdict == INCONCLUSIVE else {})


def _lacking(name: str, strata: Mapping[Stratum, _Judged], level: float, margin: float) -> dict[Stratum, int]:
    """Return what is missing. Strata with few new jobs are not waited for, unless there are no others.

    A stratum that has enough jobs keeps them, so one that is worse is among those that are waited for from some look
    on, and until then among none: the level holds for all looks.
    """
    enough = {of: one for of, one in strata.items() if one.counts.new >= _ENOUGH} or strata
    wanted = -math.log(level)
    return {
        of: _more_jobs(name, one.counts, wanted - one.evidence.not_worse, margin)
        for of, one in enough.items()
        if one.evidence.not_worse < wanted
    }


def _measure(name: str, verdict: str, log_worse: float, ends: _Counts, lacking: Mapping[Stratum, int]) -> Measure:
    return Measure(
        name=name,
        verdict=verdict,
        p=min(1.0, math.exp(-max(0.0, log_worse)) / SHARES[name]),
        old_jobs=ends.old,
        old_bad=ends.old_bad,
        new_jobs=ends.new,
        new_bad=ends.new_bad,
        more_jobs=(sum(lacking.values()) or None) if verdict == INCONCLUSIVE else None,
    )


def _more_jobs(name: str, counts: _Counts, missing: float, margin: float) -> int:
    """Return how many new jobs would bring what is missing, if both sides are alike."""
    if name == SHADOWS:
        return max(1, math.ceil(missing / -math.log(1 - MOST_DIFFERING)))
    rate = (counts.old_bad + 0.5) / (counts.old + 5)
    each = evidence.growth(rate, counts.old / counts.new, margin)
    return max(1, math.ceil(missing / each))


def _verdict(answers: Sequence[_Answer]) -> tuple[str, tuple[str, ...], Mapping[Stratum, int]]:
    """Return the verdict, the measures that it is because of, and how many more jobs of each stratum it needs."""
    measures = [one.measure for one in answers]
    by = {verdict: tuple(one.name for one in measures if one.verdict == verdict) for verdict in (WORSE, INCONCLUSIVE)}
    if by[WORSE]:
        return WORSE, by[WORSE], {}
    if by[INCONCLUSIVE] or not any(one.verdict == NOT_WORSE for one in measures):
        lacking: dict[Stratum, int] = {}
        for one in answers:  # the same jobs serve every measure
            lacking |= {of: max(more, lacking.get(of, 0)) for of, more in one.lacking.items()}
        return INCONCLUSIVE, by[INCONCLUSIVE], lacking
    return NOT_WORSE, (), {}


def _by_model(measured: _Measured, tolerance: Tolerance, pace: Mapping[Stratum, float]) -> Iterator[GuardedModel]:
    models = sorted({stratum[:2] for strata in measured.values() for stratum in strata}, key=str)
    of_model: dict[tuple[str | None, str], dict[str, dict[Stratum, _Judged]]] = defaultdict(lambda: defaultdict(dict))
    for name, strata in measured.items():
        for stratum, one in strata.items():
            of_model[stratum[:2]][name][stratum] = one
    for model in models:
        slack = tolerance.slack(model)
        answers = [_answer(name, of_model[model][name], tolerance.level, slack) for name in measured]
        verdict, because, lacking = _verdict(answers)
        yield GuardedModel(
            repository=model[0] or "unknown",
            model=model[1],
            verdict=verdict,
            because=because,
            more_jobs=sum(lacking.values()) or None,
            until=_until(lacking, pace),
        )


def _pace(strata: _Strata) -> dict[Stratum, float]:
    """Return how many jobs a day each stratum has had on the new side in the last week."""
    first = (datetime.now(UTC) - timedelta(days=_PACE_DAYS)).strftime("%Y-%m-%d")
    return {
        stratum: sum(new.ended for day, (_, new) in days.items() if day > first) / _PACE_DAYS
        for stratum, days in strata.items()
    }


def _until(lacking: Mapping[Stratum, int], pace: Mapping[Stratum, float]) -> datetime | None:
    """Return when the last of the strata has its jobs."""
    days = [more / pace[of] if pace.get(of) else math.inf for of, more in lacking.items()]
    return datetime.now(UTC) + timedelta(days=max(days)) if days and max(days) < 36500 else None
