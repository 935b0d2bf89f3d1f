"""Where a job went, and why: what the job itself carries."""

from __future__ import annotations

from dataclasses import dataclass

from lyftlearn._jobs.job import Job
from lyftlearn.errors import LyftLearnError
from lyftlearn.rollout import Decision


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A job's backend and the decision that chose it; None for what its substrate has not kept.

    stage: of the migration, None also where there is none. reason, source: why, and who said so. fell_back: whether
    the backend of first choice had refused the job.
    """

    backend: str | None
    stage: str | None
    reason: str | None
    source: str | None
    fell_back: bool


def placement(job: Job) -> Placement:
    """Return where a job went, and why. Asks nobody."""
    decision = Decision.from_json(job._record.decision)  # noqa: SLF001 - a friend of the handle
    if decision is None:
        return Placement(backend=_backend(job), stage=None, reason=None, source=None, fell_back=False)
    return Placement(
        backend=_backend(job) or decision.backend,
        stage=str(decision.stage) if decision.stage else None,
        reason=decision.reason,
        source=decision.source,
        fell_back=decision.fell_back,
    )


def _backend(job: Job) -> str | None:
    try:
        return job._shared_watch().backend.name  # noqa: SLF001 - a friend of the handle
    except LyftLearnError:  # a backend that is not installed here has a name only in the decision
        return None
