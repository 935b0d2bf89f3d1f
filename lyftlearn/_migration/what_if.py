"""Where the jobs of the history would go by other flags, and what is known of them on the other side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import analysis, guard
from lyftlearn._migration.results import (
    BackendStats,
    Blocker,
    GuardedModel,
    ModelProgress,
    ReadinessReport,
    SwitchedModel,
)
from lyftlearn.history.tables import details, jobs
from lyftlearn.rollout import OVERRIDE, PARITY, Decision, Rollout, Stage
from lyftlearn.rollout.flag_providers import MOMENT

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_UNKNOWN = "unknown"
_LEVEL = 0.02
_COLUMNS: Mapping[str, sa.ColumnElement[Any]] = {
    "kind": jobs.c.kind,
    "project": jobs.c.project,
    "team": jobs.c.team,
    "user": jobs.c.owner,
    "nodes": jobs.c.nodes,
    "image": details.c.image,
    "labels": sa.cast(details.c.labels, sa.Text),
    "gpu": sa.cast(details.c.resources, sa.Text),
}
"""What flags may target besides repository and model. JSON is text here: PostgreSQL groups by no other."""
ATTRIBUTES = tuple(_COLUMNS)
_MOST_DRAWS = 50
_Name: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Targeting:
    """What flags look at. named: attributes; jobs that agree in them are asked about once. is_drawn: also the time."""

    named: Collection[str]
    is_drawn: bool


@dataclass(frozen=True)
class _Change:
    """A model's jobs that one flag leads here, and another there."""

    name: _Name
    before: Stage
    after: Stage
    backends: tuple[str, str]


def changes(
    history: History, config: Config, since: datetime | None, rollouts: tuple[Rollout, Rollout], targeting: Targeting
) -> tuple[int, tuple[SwitchedModel, ...]]:
    """Return how many jobs were looked at, and those whose stage the second rollout changes, by model and change."""
    counted: Counter[_Change] = Counter()
    looked_at = 0
    groups = _groups(history, config, since, targeting.named)
    for attributes, number in _draws(groups) if targeting.is_drawn else groups:
        looked_at += number
        before, after = (rollout.decide_by_stage(attributes, []) for rollout in rollouts)
        if before.stage != after.stage:
            counted[_change(attributes, before, after)] += number
    if not counted:
        return looked_at, ()
    known = _knowledge(history, config, since)
    return looked_at, tuple(known.row(change, counted[change]) for change in sorted(counted, key=_order))


def _order(change: _Change) -> tuple[_Name, Stage, Stage]:
    return change.name, change.before, change.after


def _change(attributes: Mapping[str, Any], before: Decision, after: Decision) -> _Change:
    name = attributes["repository"] or _UNKNOWN, attributes["model"]
    stages = before.stage or Stage.OFF, after.stage or Stage.OFF
    return _Change(name, *stages, (before.backend, after.backend))


def _groups(
    history: History, config: Config, since: datetime | None, named: Collection[str]
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield what flags are told of jobs, and how many jobs are alike in it."""
    keys: dict[str, sa.ColumnElement[Any]] = {"repository": jobs.c.repository, "model": jobs.c.model}
    keys |= {name: column for name, column in _COLUMNS.items() if name in named}
    query = sa.select(*(column.label(name) for name, column in keys.items()), sa.func.count().label("jobs"))
    query = query.select_from(jobs.outerjoin(details, details.c.job_id == jobs.c.job_id))
    sides = jobs.c.backend.in_((config.migration_from, config.migration_to)) | jobs.c.stage.is_not(None)
    query = query.where(
        sides, jobs.c.shadow_of.is_(None), sa.func.coalesce(jobs.c.source, "").not_in((OVERRIDE, PARITY))
    )
    query = query.where(jobs.c.at >= since) if since else query
    for row in history.stream(query.group_by(*keys.values())):
        yield _attributes(row, config), row["jobs"]


def _draws(groups: Iterator[tuple[Mapping[str, Any], int]]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield jobs that are alike in parts, each at another second: else one lot would be that of all."""
    for attributes, number in groups:
        draws = min(number, _MOST_DRAWS)
        for at in range(draws):
            yield {**attributes, MOMENT: at}, number * (at + 1) // draws - number * at // draws


def _attributes(row: Mapping[str, Any], config: Config) -> dict[str, Any]:
    found = {name: row[name] for name in ("repository", "model", *_COLUMNS) if name in row}
    if "labels" in found:
        found["labels"] = json.loads(found["labels"] or "null") or {}
    if "gpu" in found:
        found["gpu"] = (json.loads(found["gpu"] or "null") or {}).get("gpu")
    return {**found, "environment": config.environment}


@dataclass(frozen=True)
class _Knowledge:
    """What the history says of each model on either side."""

    new: str
    report: ReadinessReport
    progress: Mapping[_Name, ModelProgress]
    verdicts: Mapping[_Name, GuardedModel]

    def row(self, change: _Change, number: int) -> SwitchedModel:
        before, after = (self._stats(change.name, backend) for backend in change.backends)
        verdict = self.verdicts.get(change.name)
        return SwitchedModel(
            repository=change.name[0],
            model=change.name[1],
            jobs=number,
            stage_before=change.before,
            stage_after=change.after,
            backend_before=change.backends[0],
            backend_after=change.backends[1],
            against=self._against(change.name) if change.after >= Stage.SHADOW else (),
            unproven=change.after >= Stage.SHADOW and self._is_unproven(change.name),
            verdict=verdict.verdict if verdict else None,
            start_up_before=_start_up(before),
            start_up_after=_start_up(after),
            cost_before=before.cost if before else None,
            cost_after=after.cost if after else None,
            currency=next((side.currency for side in (before, after) if side and side.currency), None),
        )

    def _stats(self, name: _Name, backend: str) -> BackendStats | None:
        """Return how jobs of a model fared on a backend; of the new one shadows tell it where nothing else does."""
        progress = self.progress.get(name)
        if progress is None:
            return None
        if backend != self.new:
            return progress.old
        return progress.new if progress.new.jobs else progress.shadow

    def _against(self, name: _Name) -> tuple[Blocker, ...]:
        of = [model for model in self.report.models if (model.repository, model.model) == name]
        rehearsed = [reason for model in of for reason in model.reasons]
        fell_back = any(model.fell_back for model in of)  # one of another repository may have the same name
        refused = [reason for reason in self.report.fall_backs if fell_back and name[1] in reason.models]
        return tuple(reason for reason in (*rehearsed, *refused) if reason.standing)

    def _is_unproven(self, name: _Name) -> bool:
        """Whether no job of the model was ever rehearsed for the new backend, nor ran there."""
        of = next((model for model in self.report.models if (model.repository, model.model) == name), None)
        return of is None or not (of.rehearsed or of.ran_there)


def _start_up(stats: BackendStats | None) -> float | None:
    return stats.start_up.value if stats and stats.start_up else None


def _knowledge(history: History, config: Config, since: datetime | None) -> _Knowledge:
    status = analysis.status(history, config, since, 0)
    verdict = guard.judge(history, config, since, _LEVEL, ())
    return _Knowledge(
        new=str(config.migration_to),
        report=analysis.report(history, config, since),
        progress={(str(of.repository), str(of.model)): of for of in status.models},
        verdicts={(of.repository, of.model): of for of in verdict.by_model},
    )
