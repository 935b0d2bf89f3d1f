"""What is found out about a migration: plain values, which the command line prints and the page draws."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lyftlearn._migration.statistics import Interval

WORSE, NOT_WORSE, INCONCLUSIVE, NO_JOBS = "worse", "not worse", "inconclusive", "no jobs"
NOT_FOUND_WORSE = "not found worse"


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
class EvidenceOfKind:
    """What there is of one kind of evidence: `rehearsal`, `shadow`, `live job`, `parity run` or `verdict`.

    fresh: how many still hold: young enough, and made with what the model's jobs are made with now. stale: the others,
    and stale_because: why. newest: when the newest was made; image, source, version: what it was made with, the source
    by a digest, and the version of lyftlearn. A verdict is as new as the newest job that it judges.
    """

    kind: str
    fresh: int
    stale: int
    stale_because: tuple[str, ...] = ()
    newest: datetime | None = None
    image: str | None = None
    source: str | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelEvidence:
    """Where a model stands on the autopilot's ladder, and what speaks for the next rung.

    rung: that of the flag file, else the one of its newest job's stage. next_rung: None at the end, or at the ceiling.
    since: when it came there, None where no autopilot saw it. missing: what must be shown before it may go on, or what
    it waits for; nothing is missing where the autopilot would raise it now. verdict, because: the guard's, as the
    autopilot asks for it on this rung; `not found worse` on those where it asks for no more.
    """

    rung: str
    next_rung: str | None
    since: datetime | None
    missing: tuple[str, ...]
    verdict: str
    because: tuple[str, ...]
    kinds: tuple[EvidenceOfKind, ...]


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """What has been shown of one kind of workflow, such as `training`, `GPU` or `secrets`.

    shown: `ran there`, `failed there`, `would run there`, `would not run there`, `alike in a parity run`, `nothing`, or
    `not used`. jobs: submissions. compared, alike: their shadows. succeeded, failed: on the new side, shadows too;
    newest: the newest of those. parity: whether the newest comparison of both backends found no difference in it; None
    where it was not looked at.
    """

    name: str
    shown: str
    jobs: int
    rehearsed: int
    would_have_run: int
    compared: int
    alike: int
    succeeded: int
    failed: int
    newest: datetime | None
    parity: bool | None
    parity_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RungStep:
    """A change of flags in the audit log: of a rung, or, without a model, of a whole file."""

    at: datetime
    who: str
    why: str
    state: str
    repository: str | None
    model: str | None
    rung_before: str | None
    rung_after: str | None


@dataclass(frozen=True, kw_only=True)
class ModelProgress:
    """One model, or all of them, which then have no repository, model, stage and evidence.

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
    evidence: ModelEvidence | None = None


@dataclass(frozen=True, kw_only=True)
class MigrationStatus:
    """How far the migration has come.

    unsettled: jobs in the whole history whose end is not known (yet). workflows: what is shown of each kind. steps: the
    newest changes of flags. problem: why nobody knows what the flags have, such as a broken file.
    """

    old: str
    new: str
    since: datetime | None
    unsettled: int
    total: ModelProgress
    models: tuple[ModelProgress, ...]
    workflows: tuple[Workflow, ...] = ()
    steps: tuple[RungStep, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Measure:
    """What was judged, and how.

    verdict: `worse`, `not worse`, `inconclusive`, or `no jobs` where none are on both sides. p: the smallest level at
    which the new side is worse; it holds however often one looks. old_bad, new_bad: of the jobs of each side, those
    that failed, that took longer or cost more than the old side's usual, or that differed. more_jobs: how many the new
    side still needs for `not worse`, if both sides are alike; None where none are needed.
    """

    name: str
    verdict: str
    p: float
    old_jobs: int
    old_bad: int
    new_jobs: int
    new_bad: int
    more_jobs: int | None


@dataclass(frozen=True)
class GuardedModel:
    """The verdict on one model, by its own jobs. because: the measures that are worse, or else those still open."""

    repository: str
    model: str
    verdict: str
    because: tuple[str, ...]
    more_jobs: int | None
    until: datetime | None


@dataclass(frozen=True)
class Guard:
    """Whether the new side does worse.

    verdict: `worse` if a measure is; `not worse` if all are that have jobs on both sides; else `inconclusive`. A
    measure is `not worse` where each model and kind is that has five jobs on the new side.
    more_jobs: how many the new side still needs for an answer, if both sides are alike; until: when it has them at the
    pace of the last week, None where none are needed or none come. by_model: each by its own jobs and at this level, so
    that of a hundred models that are fine, `level` times a hundred may be called worse. p_all, p_platform: of all
    failures, and of the platform's. models: those with finished jobs on both sides. Shadows count as jobs of the new
    side.
    """

    verdict: str
    level: float
    measures: tuple[Measure, ...]
    by_model: tuple[GuardedModel, ...]
    more_jobs: int | None
    until: datetime | None
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
        return self.verdict == WORSE


@dataclass(frozen=True, kw_only=True)
class SwitchedModel:
    """Jobs of one model for which other flags give another stage.

    backend_before, backend_after: where they run at these stages, without a fall back. against: what rehearsals and
    refusals still found against the model on the new backend. unproven: whether nothing of it was ever rehearsed there,
    nor ran. verdict: the guard's. start_up: seconds, the median of the model's jobs on that backend; cost: the mean.
    Shadows tell them where no job ran on the new backend.
    """

    repository: str
    model: str
    jobs: int
    stage_before: str
    stage_after: str
    backend_before: str
    backend_after: str
    against: tuple[Blocker, ...]
    unproven: bool
    verdict: str | None
    start_up_before: float | None
    start_up_after: float | None
    cost_before: float | None
    cost_after: float | None
    currency: str | None


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What other flags change, by the jobs of some time.

    flags: the file that has them. target: the one that jobs read, None where none is configured or a service answers.
    jobs: those that were looked at. moved: of these, those that would have run on another backend. models: by model and
    change of stage; of jobs that are not there, nothing changes. notes: what else counts. written: whether `target` has
    them now. problem: why the flags that count now cannot be read, so that jobs go by their last answers, if at all.
    """

    flags: str
    target: str | None
    since: datetime | None
    jobs: int
    moved: int
    models: tuple[SwitchedModel, ...]
    notes: tuple[str, ...]
    written: bool
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class AutopilotStep:
    """What the autopilot decided of one model, or of all models of a repository, which are `*` then.

    action: raise, lower or hold. rung: where it stands now. missing: what must be shown before it may go on. adopted:
    why it stood elsewhere than the autopilot had left it.
    """

    repository: str
    model: str
    action: str
    rung_before: str
    rung: str
    reason: str
    missing: tuple[str, ...]
    adopted: str | None = None


@dataclass(frozen=True, kw_only=True)
class AutopilotRun:
    """One look of the autopilot. flags: the file, or the provider, that has the rungs. dry_run: nothing was changed."""

    old: str
    new: str
    at: datetime
    flags: str
    dry_run: bool
    steps: tuple[AutopilotStep, ...]
