"""From the history to what a person decides a migration by: report and status, as plain values.

The database counts, and only counts come here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import statistics
from lyftlearn._migration.blockers import blockers
from lyftlearn._migration.medians import DURATION, START_UP, UNKNOWN, Medians, Which, medians
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
    repository = sa.func.coalesce(of.c.repository, UNKNOWN).label("repository")
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
        tallies[one.key[0] or UNKNOWN, one.key[1]].append(one)
    newest, compared = _comparisons_of(view), defaultdict[_Model, list[ShadowComparison]](list)
    for name, comparison in newest:
        compared[name].append(comparison)
    everything = [one for of in tallies.values() for one in of]
    middles = _medians(view, [(None, everything), *tallies.items()])
    return MigrationStatus(
        old=view.old,
        new=view.new,
        since=since,
        unsettled=unsettled,
        total=_progress(view, None, everything, [comparison for _, comparison in newest], middles),
        models=tuple(_model(view, name, tallies[name], compared[name], middles) for name in sorted(tallies)),
    )


def _tallies(view: _View) -> list[Tally]:
    by: tuple[Key, ...] = ("repository", "model", "backend", "is_shadow", "stage")
    return tally(view.history, by, since=view.since, where=[view.is_ours])


def _view(history: History, config: Config, since: datetime | None) -> _View:
    return _View(history, config.migration_from, str(config.migration_to), since)


def _repository() -> sa.Label[str]:
    return sa.func.coalesce(jobs.c.repository, UNKNOWN).label("repository")


def _model(
    view: _View, name: _Model, tallies: Sequence[Tally], compared: Sequence[ShadowComparison], middles: Medians
) -> ModelProgress:
    newest = max(_submissions(tallies), key=lambda one: (one.newest, one.key[4] or ""), default=None)
    found = _progress(view, name, tallies, compared, middles)
    return replace(found, repository=name[0], model=name[1], stage=newest.key[4] if newest else None)


def _progress(
    view: _View,
    name: _Model | None,
    tallies: Sequence[Tally],
    compared: Sequence[ShadowComparison],
    middles: Medians,
) -> ModelProgress:
    submitted, sides = _submissions(tallies), _sides(view, name, tallies)
    old, new, shadow = (_side(of, which, middles) for which, of in sides.items())
    count = sum(one.jobs for one in submitted)
    return ModelProgress(
        share=new.jobs / count if count else 0.0,
        fell_back=sum(one.fell_back for one in submitted),
        elsewhere=count - old.jobs - new.jobs,
        old=old,
        new=new,
        shadow=shadow,
        comparisons=tuple(compared),
    )


def _submissions(tallies: Sequence[Tally]) -> list[Tally]:
    return [one for one in tallies if not one.key[3]]


def _sides(view: _View, name: _Model | None, tallies: Sequence[Tally]) -> dict[Which, list[Tally]]:
    """Return the tallies of the old side, of the new one, and of the shadows there, in this order."""
    sides = (Which(name, view.old), Which(name, view.new), Which(name, view.new, is_shadow=True))
    return {of: [one for one in tallies if (one.key[2], one.key[3]) == (of.backend, of.is_shadow)] for of in sides}


def _medians(view: _View, tallies: Iterable[tuple[_Model | None, Sequence[Tally]]]) -> Medians:
    """Return how long jobs took, of each model and side: all are asked for before any is shown."""
    counts: dict[tuple[str, Which], int] = {}
    for name, of in tallies:
        for which, some in _sides(view, name, of).items():
            counts[START_UP, which] = sum(one.started for one in some)
            counts[DURATION, which] = sum(one.timed for one in some)
    return medians(view.history, counts, view.since)


def _side(tallies: Sequence[Tally], which: Which, middles: Medians) -> BackendStats:
    succeeded, failed = (sum(getattr(one, name) for one in tallies) for name in ("succeeded", "failed"))
    currencies = {one.currency for one in tallies if one.priced}
    priced = sum(one.priced for one in tallies) if len(currencies) == 1 and None not in currencies else 0
    return BackendStats(
        jobs=sum(one.jobs for one in tallies),
        succeeded=succeeded,
        failed=failed,
        failed_by_platform=sum(one.failed_by_platform for one in tallies),
        stopped=sum(one.stopped for one in tallies),
        refused=sum(one.refused for one in tallies),
        open=sum(one.open for one in tallies),
        success_rate=statistics.rate(succeeded, succeeded + failed),
        start_up=middles.get((START_UP, which)),
        duration=middles.get((DURATION, which)),
        cost=sum(one.cost for one in tallies) / priced if priced else None,
        currency=currencies.pop() if priced else None,
    )


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
