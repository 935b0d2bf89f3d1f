"""The part of a job that a view looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

from lyftlearn import FailureReason, Job, JobKind, JobState, JobStatus

BEGAN = datetime(2025, 1, 31, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    """The part of a job that a view looks at."""

    state: JobState
    id: str = "eta-tlaaaaaaaaaaa"
    name: str = "eta"
    kind: JobKind = JobKind.TRAIN
    labels: dict[str, str] = field(default_factory=dict)
    _record: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(nodes=None))


def job(status: JobStatus = JobStatus.RUNNING, message: str = "", **seen: object) -> Job:
    finished = BEGAN + timedelta(minutes=2, seconds=5) if status.finished else None
    state = JobState(
        status=status,
        reason=FailureReason.USER_ERROR if status is JobStatus.FAILED else None,
        message=message,
        exit_code=3 if status is JobStatus.FAILED else None,
        attempt=1,
        created_at=BEGAN - timedelta(minutes=1),
        started_at=None if status is JobStatus.PENDING else BEGAN,
        finished_at=finished,
    )
    return cast("Job", Seen(state, **seen))  # type: ignore[arg-type]
