"""From the journal of a migration to what a person decides by: report, status and guard, as plain values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._contract.ids import PATTERN
from lyftlearn._migration import statistics
from lyftlearn._migration.journal import Journal, comparisons, outcomes, rehearsals, submissions
from lyftlearn._migration.results import (
    BackendStats,
    Blocker,
    Guard,
    MigrationStatus,
    ModelProgress,
    ModelReadiness,
    ReadinessReport,
    ShadowComparison,
)
from lyftlearn.types import FailureReason

if TYPE_CHECKING:
    from lyftlearn.config import Config

_Row: TypeAlias = Mapping[str, Any]
_ID = re.compile(rf"(?<![a-z0-9-]){PATTERN.pattern}(?![a-z0-9-])")
# Addresses, quoted texts and digests: what differs from job to job where the problem is the same.
_OWN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\",;)]+|'[^']*'|\"[^\"]*\"|\b[0-9a-f]{12,}\b")
_OF_THE_PLATFORM = frozenset(
    (
        FailureReason.CAPACITY,
        FailureReason.CONFIGURATION,
        FailureReason.IMAGE,
        FailureReason.PLATFORM,
        FailureReason.PREEMPTED,
    )
)
LEAST_JOBS = 20
"""Finished jobs that the new side needs before a guard judges it."""


def report(journal: Journal, config: Config, since: datetime | None) -> ReadinessReport:
    """Return what rehearsals found of the jobs submitted since then."""
    rows = [row for row in _rows(journal, since) if row["shadow_of"] is None]
    fell_back = [row for row in rows if row["fell_back"]]
    return ReadinessReport(
        old=config.migration_from,
        new=str(config.migration_to),
        since=since,
        models=tuple(_rehearsal(config, *where, rows=of) for where, of in _by_model(rows)),
        reasons=_blockers(_rehearsals_of(config, rows)),
        fall_backs=_blockers(fell_back),
        fell_back=len(fell_back),
    )


def status(journal: Journal, config: Config, since: datetime | None, unsettled: int) -> MigrationStatus:
    """Return how the jobs submitted since then fared on either side."""
    rows = _rows(journal, since)
    compared = _comparisons_of(journal, rows)
    return MigrationStatus(
        old=config.migration_from,
        new=str(config.migration_to),
        since=since,
        unsettled=unsettled,
        total=_progress(config, rows, compared),
        models=tuple(_model(config, *where, rows=of, compared=compared) for where, of in _by_model(rows)),
    )


def guard(journal: Journal, config: Config, since: datetime | None, level: float) -> Guard:
    """Compare failures within each model, so that a side is not blamed for the models that are on it.

    All failures are compared, because a difference between the sides may well look like the user's error; and those of
    the platform apart, because many user errors on both sides would hide them. Two tests are made, so each is held to
    half of `level` (Bonferroni). Jobs that somebody stopped, and those without a known end, are left out.
    """
    pairs = [_pair(config, rows) for _, rows in _by_model(_rows(journal, since))]
    both = [(old, new) for old, new in pairs if old and new]
    p_all, p_platform = (statistics.fails_more(_strata(both, failed)) for failed in (_failed, _by_platform))
    old, new = ([row for pair in both for row in pair[side]] for side in (0, 1))
    return Guard(
        verdict=_verdict(len(new), min(p_all, p_platform), level),
        level=level,
        p_all=p_all,
        p_platform=p_platform,
        models=len(both),
        old_jobs=len(old),
        old_failed=sum(map(_failed, old)),
        new_jobs=len(new),
        new_failed=sum(map(_failed, new)),
        old_failed_by_platform=sum(map(_by_platform, old)),
        new_failed_by_platform=sum(map(_by_platform, new)),
    )


def _verdict(new_jobs: int, p: float, level: float) -> str:
    if new_jobs < LEAST_JOBS:
        return "too few jobs"
    return "worse" if p < level / 2 else "not worse"


def _pair(config: Config, rows: Iterable[_Row]) -> tuple[list[_Row], list[_Row]]:
    ended = [row for row in rows if row["status"] in ("succeeded", "failed")]
    return (
        [row for row in ended if row["backend"] == config.migration_from],
        [row for row in ended if row["backend"] == config.migration_to],
    )


def _strata(
    pairs: Iterable[tuple[list[_Row], list[_Row]]], failed: Callable[[_Row], bool]
) -> list[tuple[int, int, int, int]]:
    return [(len(old), sum(map(failed, old)), len(new), sum(map(failed, new))) for old, new in pairs]


def _failed(row: _Row) -> bool:
    return bool(row["status"] == "failed")


def _by_platform(row: _Row) -> bool:
    return _failed(row) and row["reason"] in _OF_THE_PLATFORM


def _rows(journal: Journal, since: datetime | None) -> list[_Row]:
    """Return a row for each submission, with its rehearsal and its outcome, oldest first."""
    joined = submissions.outerjoin(rehearsals, rehearsals.c.job_id == submissions.c.job_id).outerjoin(
        outcomes, outcomes.c.job_id == submissions.c.job_id
    )
    told = (column for column in outcomes.c if column.name != "job_id")
    rehearsed = (rehearsals.c.backend.label("rehearsed_on"), rehearsals.c.faults)
    query = sa.select(submissions, *told, *rehearsed).select_from(joined)
    query = query.order_by(submissions.c.at, submissions.c.job_id)
    return journal.select(query.where(submissions.c.at >= since) if since else query)


def _by_model(rows: Iterable[_Row]) -> list[tuple[tuple[str, str], list[_Row]]]:
    found: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        found[row["repository"], row["model"]].append(row)
    return sorted(found.items())


def _rehearsal(config: Config, repository: str, model: str, rows: list[_Row]) -> ModelReadiness:
    rehearsed = _rehearsals_of(config, rows)
    return ModelReadiness(
        repository=repository,
        model=model,
        submissions=len(rows),
        ran_there=sum(row["backend"] == config.migration_to for row in rows),
        rehearsed=len(rehearsed),
        would_have_run=sum(not row["faults"] for row in rehearsed),
        reasons=_blockers(rehearsed),
        fell_back=sum(row["fell_back"] for row in rows),
    )


def _rehearsals_of(config: Config, rows: Iterable[_Row]) -> list[_Row]:
    """Return the rows of jobs that were planned for the new backend, and not sent there."""
    return [row for row in rows if row["rehearsed_on"] == config.migration_to and not row["fell_back"]]


def _blockers(rows: Sequence[_Row]) -> tuple[Blocker, ...]:
    """Return what stood against the jobs, commonest first: one for each kind of problem, however many jobs name it."""
    newest = {(row["repository"], row["model"]): row for row in rows}
    standing = {_kind(fault) for row in newest.values() for fault in _faults(row)}
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    models: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for kind, problem in {_kind(fault): fault[1] for fault in _faults(row)}.items():
            texts[kind].append(problem)
            models[kind].add(row["model"])
    ordered = sorted(texts, key=lambda kind: -len(texts[kind]))
    return tuple(_blocker(kind, texts[kind], models[kind], standing=kind in standing) for kind in ordered)


def _blocker(kind: tuple[str, str], texts: Sequence[str], models: Iterable[str], *, standing: bool) -> Blocker:
    path, problem = kind
    alike = len(set(texts)) == 1
    return Blocker(
        path=path,
        problem=texts[0] if alike else problem,
        count=len(texts),
        models=tuple(sorted(models)),
        standing=standing,
        example=None if alike else texts[-1],
    )


def _faults(row: _Row) -> list[tuple[str, str]]:
    """Return what stood against a job. A job's id in it is that one job's; numbers stay: they may be the reason."""
    if row["faults"] is None:
        return [("backend", "the reason was not recorded")]
    return [(path, _ID.sub("ID", problem)) for path, problem in row["faults"]]


def _kind(fault: tuple[str, str]) -> tuple[str, str]:
    """Return a problem without what names one job's own things."""
    path, problem = fault
    return path, _OWN.sub("\u2026", problem)


def _comparisons_of(journal: Journal, rows: Iterable[_Row]) -> list[tuple[_Row, ShadowComparison]]:
    of = {row["job_id"]: row for row in rows}
    found = journal.select(sa.select(comparisons))
    return [(of[one["job_id"]], _comparison(one, of)) for one in found if one["job_id"] in of]


def _comparison(one: _Row, of: Mapping[str, _Row]) -> ShadowComparison:
    shadow = of.get(one["shadow_id"])
    return ShadowComparison(
        job_id=one["job_id"],
        shadow_id=one["shadow_id"],
        differences=tuple(one["differences"]),
        duration=_seconds(of[one["job_id"]], "started_at", "finished_at"),
        shadow_duration=_seconds(shadow, "started_at", "finished_at") if shadow else None,
    )


def _model(
    config: Config, repository: str, model: str, rows: list[_Row], compared: Iterable[tuple[_Row, ShadowComparison]]
) -> ModelProgress:
    newest = next((row for row in reversed(rows) if row["shadow_of"] is None), None)
    found = _progress(config, rows, compared)
    return replace(found, repository=repository, model=model, stage=newest["stage"] if newest else None)


def _progress(config: Config, rows: list[_Row], compared: Iterable[tuple[_Row, ShadowComparison]]) -> ModelProgress:
    submitted = [row for row in rows if row["shadow_of"] is None]
    old = [row for row in submitted if row["backend"] == config.migration_from]
    new = [row for row in submitted if row["backend"] == config.migration_to]
    ours = {row["job_id"] for row in submitted}
    return ModelProgress(
        share=len(new) / len(submitted) if submitted else 0.0,
        fell_back=sum(row["fell_back"] for row in submitted),
        elsewhere=len(submitted) - len(old) - len(new),
        old=_side(old),
        new=_side(new),
        shadow=_side([row for row in rows if row["shadow_of"] is not None]),
        comparisons=tuple(one for row, one in compared if row["job_id"] in ours),
    )


def _side(rows: Sequence[_Row]) -> BackendStats:
    ends = Counter(row["status"] for row in rows)
    finished = ends["succeeded"] + ends["failed"]
    succeeded = [row for row in rows if row["status"] == "succeeded"]
    return BackendStats(
        jobs=len(rows),
        succeeded=ends["succeeded"],
        failed=ends["failed"],
        failed_by_platform=sum(map(_by_platform, rows)),
        stopped=ends["stopped"],
        refused=ends["refused"],
        open=ends[None] + ends["unknown"],
        success_rate=statistics.rate(ends["succeeded"], finished),
        start_up=statistics.middle(_spans(rows, "created_at", "started_at")),
        duration=statistics.middle(_spans(succeeded, "started_at", "finished_at")),
    )


def _spans(rows: Iterable[_Row], start: str, end: str) -> list[float]:
    seconds = (_seconds(row, start, end) for row in rows)
    return [span for span in seconds if span is not None]


def _seconds(row: _Row, start: str, end: str) -> float | None:
    """Return the seconds between two times; None where one is missing, or where clocks that differ make it negative."""
    if row[start] is None or row[end] is None:
        return None
    seconds: float = (row[end] - row[start]).total_seconds()
    return seconds if seconds >= 0 else None
