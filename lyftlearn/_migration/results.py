"""What is found out about a migration: plain values, which the command line prints and the page draws."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lyftlearn._migration.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """What stands against jobs on the new backend: the field, and what is wrong and what to do.

    standing: whether the newest rehearsal of some model still found it. example: the newest problem in full, where the
    jobs' problems differ in names, texts or addresses alone; these are an ellipsis in `problem`.
    """

    path: str
    problem: str
    count: int
    models: tuple[str, ...]
    standing: bool
    example: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelReadiness:
    """One model's jobs: how many ran on the new backend, and of those that were rehearsed, how many would have.

    fell_back: how many the new backend refused.
    """

    repository: str
    model: str
    submissions: int
    ran_there: int
    rehearsed: int
    would_have_run: int
    reasons: tuple[Blocker, ...]
    fell_back: int = 0


@dataclass(frozen=True, kw_only=True)
class ReadinessReport:
    """How ready the jobs are. Shadows are not counted as submissions.

    reasons: what rehearsals found, over all models, commonest first. fall_backs: why live jobs were refused by the new
    backend, and ran on the old one. fell_back: how many did. lost: jobs that were to be rehearsed, or shadowed, and of
    which nothing was found out: the process that submitted them ended first, or could not write it down.
    """

    old: str
    new: str
    since: datetime | None
    models: tuple[ModelReadiness, ...]
    reasons: tuple[Blocker, ...]
    fall_backs: tuple[Blocker, ...] = ()
    fell_back: int = 0
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class BackendStats:
    """How jobs fare on one side.

    failed_by_platform: of the failed ones, those whose reason is capacity, configuration, image, platform or preempted.
    open: those without a known end. success_rate: of those that succeeded or failed. start_up: seconds from created to
    started. duration: seconds from started to finished, of those that succeeded. Both are medians.
    """

    jobs: int
    succeeded: int
    failed: int
    failed_by_platform: int
    stopped: int
    refused: int
    open: int
    success_rate: Interval | None
    start_up: Interval | None
    duration: Interval | None
    cost: float | None = None
    currency: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShadowComparison:
    """A job, its shadow, and in what they differ: a sentence each. Durations are in seconds."""

    job_id: str
    shadow_id: str
    differences: tuple[str, ...]
    duration: float | None
    shadow_duration: float | None


@dataclass(frozen=True, kw_only=True)
class ModelProgress:
    """One model, or all of them, which then have no repository, model and stage.

    stage: of the newest submission; None also where an operator's override decided. share: of the submissions, those
    on the new side. fell_back: jobs that the new side had refused. elsewhere: jobs that an override sent to a
    third backend.
    """

    repository: str | None = None
    model: str | None = None
    stage: str | None = None
    share: float
    fell_back: int
    elsewhere: int
    old: BackendStats
    new: BackendStats
    shadow: BackendStats
    comparisons: tuple[ShadowComparison, ...]


@dataclass(frozen=True, kw_only=True)
class MigrationStatus:
    """How far the migration has come. unsettled: jobs in the whole journal whose end is not known (yet)."""

    old: str
    new: str
    since: datetime | None
    unsettled: int
    total: ModelProgress
    models: tuple[ModelProgress, ...]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Whether the new side fails significantly more often.

    verdict: `worse`, `not worse`, or `too few jobs`. p_all, p_platform: how probable at least so many failures, of any
    reason and of the platform's, were if both sides were alike; one below half the level makes it worse. models: those
    with finished jobs on both sides, which alone are compared. Shadows count as jobs of the new side.
    """

    verdict: str
    level: float
    p_all: float
    p_platform: float
    models: int
    old_jobs: int
    old_failed: int
    new_jobs: int
    new_failed: int
    old_failed_by_platform: int
    new_failed_by_platform: int

    @property
    def worse(self) -> bool:
        """Whether a pipeline should stop here."""
        return self.verdict == "worse"
