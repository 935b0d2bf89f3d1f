"""From the history to what a person decides a migration by: report and status, as plain values.

The database counts, and only counts come here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import statistics
from lyftlearn._migration.blockers import blockers
from lyftlearn._migration.results import (
    BackendStats,
    MigrationStatus,
    ModelProgress,
    ModelReadiness,
    ReadinessReport,
    ShadowComparison,
)
from lyftlearn.history.queries import Condition, Key, Tally, sum_if, tally
from lyftlearn.history.tables import comparisons, jobs
from lyftlearn.history.tallies import EVIDENCE, counts, within
from lyftlearn.rollout import OVERRIDE, PARITY
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_MOST_COMPARISONS = 1000
_UNKNOWN = "unknown"  # the repository of jobs that come from none
_START_UP, _DURATION = "start_up", "duration"
_LONGEST_REHEARSAL = timedelta(minutes=10)
"""It takes seconds; before it, inputs may be hashed, and in a busy process it waits its turn."""
_Condition: TypeAlias = sa.ColumnElement[bool]
_Model: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class _View:
    """The jobs of a migration that were submitted in a window."""

    history: History
    old: str
    new: str
    since: datetime | None

    @property
    def conditions(self) -> list[_Condition]:
        """What holds of them, in the table of jobs."""
        return [self.is_ours(jobs), *within(self.since)]

    def is_ours(self, of: sa.FromClause) -> _Condition:
        """Return what holds of a job of this migration, in a table that has its columns.

        A history knows other jobs, too: those count that a migration decided, or that ran on one of its sides.
        """
        is_decided = of.c.stage.is_not(None) | (of.c.source == OVERRIDE)
        is_compared = sa.func.coalesce(of.c.source, "") == PARITY
        return (of.c.backend.in_((self.old, self.new)) | is_decided) & ~is_compared


def condition(history: History, config: Config) -> Condition:
    """Return what holds of the jobs of a migration."""
    return _view(history, config, None).is_ours


def report(history: History, config: Config, since: datetime | None) -> ReadinessReport:
    """Return what rehearsals found of the jobs submitted since then."""
    view = _view(history, config, since)
    models = _readiness_rows(view)
    found = blockers(history, view.new, since, fell_back=False)
    unrecorded = {of["model"]: of["unrecorded"] for of in models if of["unrecorded"]}
    refused = blockers(history, view.new, since, fell_back=True, unrecorded=unrecorded)
    return ReadinessReport(
        old=view.old,
        new=view.new,
        since=since,
        models=tuple(
            ModelReadiness(
                repository=of["repository"],
                model=of["model"],
                submissions=of["submissions"],
                ran_there=of["ran_there"],
                rehearsed=of["rehearsed"],
                would_have_run=of["would_have_run"],
                reasons=found.of_model(of["repository"], of["model"]),
                fell_back=of["fell_back"],
            )
            for of in models
        ),
        reasons=found.of_all(),
        fall_backs=refused.of_all(),
        fell_back=sum(of["fell_back"] for of in models),
        lost=sum(of["lost"] for of in models),
    )


def _readiness_rows(view: _View) -> list[Mapping[str, Any]]:
    of = counts(view.history.dialect, view.since, None, EVIDENCE)
    rehearsed = (of.c.rehearsed_on == view.new) & ~of.c.fell_back
    counted = {
        "submissions": sa.true(),
        "ran_there": of.c.backend == view.new,
        "rehearsed": rehearsed,
        "would_have_run": rehearsed & of.c.is_hindered.is_(sa.false()),
        "fell_back": of.c.fell_back,
        "unrecorded": of.c.fell_back & of.c.is_hindered.is_not(sa.true()),
    }
    repository = sa.func.coalesce(of.c.repository, _UNKNOWN).label("repository")
    query = sa.select(of.c.repository.label("of"), repository, of.c.model)
    query = query.add_columns(*(sum_if(condition, of.c.jobs).label(name) for name, condition in counted.items()))
    query = query.where(view.is_ours(of), ~of.c.is_shadow).group_by(of.c.repository, of.c.model)
    rows = view.history.select(query.having(sa.func.sum(of.c.jobs) > 0).order_by(repository, of.c.model))
    lost = _lost_rehearsals(view)
    return [{**row, "lost": lost.get((row["of"], row["model"]), 0)} for row in rows]


def _lost_rehearsals(view: _View) -> dict[tuple[str | None, str], int]:
    """Return by model how many rehearsals are not under way any more, and never came to anything."""
    of = counts(view.history.dialect, view.since, datetime.now(UTC) - _LONGEST_REHEARSAL, EVIDENCE)
    lost = of.c.stage.in_((Stage.REHEARSE, Stage.SHADOW)) & of.c.rehearsed_on.is_(None) & ~of.c.is_shadow
    query = sa.select(of.c.repository, of.c.model, sa.func.sum(of.c.jobs).label("jobs")).where(view.is_ours(of), lost)
    rows = view.history.select(query.group_by(of.c.repository, of.c.model))
    return {(row["repository"], row["model"]): row["jobs"] for row in rows}


def status(history: History, config: Config, since: datetime | None, unsettled: int) -> MigrationStatus:
    """Return how the jobs submitted since then fared on either side."""
    view = _view(history, config, since)
    tallies: dict[_Model, list[Tally]] = defaultdict(list)
    for one in _tallies(view):
        tallies[one.key[0] or _UNKNOWN, one.key[1]].append(one)
    newest, compared = _comparisons_of(view), defaultdict[_Model, list[ShadowComparison]](list)
    for name, comparison in newest:
        compared[name].append(comparison)
    everything = [one for of in tallies.values() for one in of]
    with history.one_connection():  # for the medians of each model
        return MigrationStatus(
            old=view.old,
            new=view.new,
            since=since,
            unsettled=unsettled,
            total=_progress(view, None, everything, [comparison for _, comparison in newest]),
            models=tuple(_model(view, name, tallies[name], compared[name]) for name in sorted(tallies)),
        )


def _tallies(view: _View) -> list[Tally]:
    by: tuple[Key, ...] = ("repository", "model", "backend", "is_shadow", "stage")
    return tally(view.history, by, since=view.since, where=[view.is_ours])


def _view(history: History, config: Config, since: datetime | None) -> _View:
    return _View(history, config.migration_from, str(config.migration_to), since)


def _repository() -> sa.Label[str]:
    return sa.func.coalesce(jobs.c.repository, _UNKNOWN).label("repository")


def _model(view: _View, name: _Model, tallies: Sequence[Tally], compared: Sequence[ShadowComparison]) -> ModelProgress:
    submitted = [one for one in tallies if not one.key[3]]
    newest = max(submitted, key=lambda one: (one.newest, one.key[4] or ""), default=None)
    found = _progress(view, name, tallies, compared)
    return replace(found, repository=name[0], model=name[1], stage=newest.key[4] if newest else None)


def _progress(
    view: _View, name: _Model | None, tallies: Sequence[Tally], compared: Sequence[ShadowComparison]
) -> ModelProgress:
    submitted = [one for one in tallies if not one.key[3]]
    old, new = ([one for one in submitted if one.key[2] == side] for side in (view.old, view.new))
    shadow = [one for one in tallies if one.key[3] and one.key[2] == view.new]
    numbers = [sum(one.jobs for one in of) for of in (submitted, old, new)]
    return ModelProgress(
        share=numbers[2] / numbers[0] if numbers[0] else 0.0,
        fell_back=sum(one.fell_back for one in submitted),
        elsewhere=numbers[0] - numbers[1] - numbers[2],
        old=_side(view, old, _Which(name, view.old)),
        new=_side(view, new, _Which(name, view.new)),
        shadow=_side(view, shadow, _Which(name, view.new, is_shadow=True)),
        comparisons=tuple(compared),
    )


class _Which(NamedTuple):
    """The jobs of one model, or of all, on one side."""

    model: _Model | None
    backend: str
    is_shadow: bool = False

    def query(self, measure: str, since: datetime | None) -> sa.Select[*tuple[Any, ...]]:
        """Return the query for some values of a measure in their order."""
        repository = self.model and self.model[0]
        of_model, named = repository is not None, repository != _UNKNOWN
        return _query_of_values(measure, of_model, named, self.is_shadow, since is not None)

    def values(self, since: datetime | None) -> dict[str, Any]:
        """Return the parameters of the query."""
        found = dict(zip(("repository", "model"), self.model or (), strict=False))
        if found.get("repository") == _UNKNOWN:
            del found["repository"]
        return {**found, "backend": self.backend, **({"since": since} if since else {})}


@cache
def _query_of_values(
    measure: str,
    is_of_model: bool,
    is_named: bool,
    is_shadow: bool,
    is_since: bool,
) -> sa.Select[*tuple[Any, ...]]:
    """Return the query, which is made once: there is one for each of some thousand models to ask."""
    of = jobs.c
    conditions = [of.backend == sa.bindparam("backend"), of[measure].is_not(None)]
    conditions += [of.at >= sa.bindparam("since")] if is_since else []
    conditions.append(of.shadow_of.is_not(None) if is_shadow else of.shadow_of.is_(None))
    if is_of_model:
        named = of.repository == sa.bindparam("repository") if is_named else of.repository.is_(None)
        conditions += [named, of.model == sa.bindparam("model")]
    if measure == _DURATION:
        conditions.append(of.status == "succeeded")
    return _some_of(sa.select(of[measure].label("value")).where(*conditions).order_by(of[measure]))


def _some_of(ordered: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Return the first, the last and the middle ones of `count` values from the `first` on."""
    first, count, below, both = (sa.bindparam(name, type_=sa.Integer()) for name in ("first", "count", "below", "both"))
    some = ordered.offset(first).limit(count).cte("some")
    low, high = (sa.select(of(some.c.value)).scalar_subquery() for of in (sa.func.min, sa.func.max))
    middle = sa.select(some.c.value, low.label("low"), high.label("high")).order_by(some.c.value)
    return middle.offset(below).limit(both)


def _side(view: _View, tallies: Sequence[Tally], which: _Which) -> BackendStats:
    succeeded, failed = (sum(getattr(one, name) for one in tallies) for name in ("succeeded", "failed"))
    currencies = {one.currency for one in tallies if one.priced}
    priced = sum(one.priced for one in tallies) if len(currencies) == 1 and None not in currencies else 0
    started, timed = (sum(getattr(one, name) for one in tallies) for name in ("started", "timed"))
    return BackendStats(
        jobs=sum(one.jobs for one in tallies),
        succeeded=succeeded,
        failed=failed,
        failed_by_platform=sum(one.failed_by_platform for one in tallies),
        stopped=sum(one.stopped for one in tallies),
        refused=sum(one.refused for one in tallies),
        open=sum(one.open for one in tallies),
        success_rate=statistics.rate(succeeded, succeeded + failed),
        start_up=_middle(view, _START_UP, which, started),
        duration=_middle(view, _DURATION, which, timed),
        cost=sum(one.cost for one in tallies) / priced if priced else None,
        currency=currencies.pop() if priced else None,
    )


def _middle(view: _View, measure: str, which: _Which, count: int) -> statistics.Interval | None:
    """Return the median of `count` values with its interval: these are all that is read."""
    if not count:
        return None
    rank = statistics.median_rank(count)
    first = max(rank - 1, 0)
    some = {"first": first, "count": count - 2 * first, "below": (count - 1) // 2 - first, "both": 2 - count % 2}
    rows = view.history.select(which.query(measure, view.since), which.values(view.since) | some)
    if not rows:
        return None
    low, high = (rows[0]["low"], rows[0]["high"]) if rank else (None, None)
    return statistics.Interval(median(row["value"] for row in rows), low, high)


def _comparisons_of(view: _View) -> list[tuple[_Model, ShadowComparison]]:
    """Return what became of the newest shadows, with the model of each."""
    shadow = jobs.alias("shadow")
    query = (
        sa.select(comparisons, _repository(), jobs.c.model, jobs.c.duration, shadow.c.duration.label("shadow_duration"))
        .outerjoin_from(comparisons, jobs, jobs.c.job_id == comparisons.c.job_id)  # so comparisons are read first
        .outerjoin(shadow, shadow.c.job_id == comparisons.c.shadow_id)
        .where(*view.conditions)
        .order_by(jobs.c.at.desc(), jobs.c.job_id)
        .limit(_MOST_COMPARISONS)
    )
    return [((row["repository"], row["model"]), _comparison(row)) for row in view.history.select(query)]


def _comparison(row: Mapping[str, Any]) -> ShadowComparison:
    return ShadowComparison(
        job_id=row["job_id"],
        shadow_id=row["shadow_id"],
        differences=tuple(row["differences"]),
        duration=row["duration"],
        shadow_duration=row["shadow_duration"],
    )
