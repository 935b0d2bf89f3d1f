"""What backends report, and the one function that turns reports into a state.

Watches, polls and queues deliver events late, twice and in any order. `advance` returns the same state for every order,
because it always keeps the larger of two values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from lyftlearn.types import FailureReason, JobState, JobStatus

_Order: TypeAlias = tuple[bool, int, int, int, datetime, str, str, int]

_STATUSES = tuple(JobStatus)
_RANK = {status: rank for rank, status in enumerate(_STATUSES)}


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """One observation of one job. Every field says what was true at `at`, not what changed.

    incarnation: a number that grows each time the infrastructure starts the job again, because a node was lost or a
    spot instance was reclaimed. Only then can a job go back from RUNNING to STARTING. A final event holds everything
    that will ever be known about the job, so a backend reports it only when it knows the exit code and the last output.
    """

    job_id: str
    status: JobStatus
    at: datetime
    incarnation: int = 0
    attempt: int = 1
    reason: FailureReason | None = None
    message: str = ""
    exit_code: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class ObservedState:
    """A job's state, and the newest event that was heard of it, which others remember as well."""

    state: JobState
    event: JobEvent = field(compare=False)

    @property
    def order(self) -> _Order:
        """The position in the job's history at which the state was observed."""
        return _order(self.event)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "event" not in state:  # of version 1.0
            state["event"] = _event_at(state["order"])
        self.__dict__.update(state)


Progress = ObservedState  # the name of version 1.0, which pickled handles of that version contain


def advance(progress: ObservedState | None, event: JobEvent) -> ObservedState:
    """Return what is known after `event`. Neither the order nor the repetition of events changes the result.

    A later status replaces an earlier one. Times and attempts keep their best value. A final state never changes.
    """
    if progress is None:
        return ObservedState(_merge(_unseen(event), event, newer=True), event)
    newer = not progress.state.status.finished and _order(event) > progress.order
    return ObservedState(_merge(progress.state, event, newer=newer), event if newer else progress.event)


def _order(event: JobEvent) -> _Order:
    place = (event.status.finished, event.incarnation, _RANK[event.status], event.attempt, event.at)
    exit_code = -1 if event.exit_code is None else event.exit_code
    return (*place, event.message, event.reason or "", exit_code)


def _event_at(order: _Order) -> JobEvent:
    """Return an event with this order."""
    _, incarnation, rank, attempt, at, message, reason, exit_code = order
    return JobEvent(
        job_id="",
        status=_STATUSES[rank],
        at=at,
        incarnation=incarnation,
        attempt=attempt,
        reason=FailureReason(reason) if reason else None,
        message=message,
        exit_code=None if exit_code < 0 else exit_code,
    )


def _unseen(event: JobEvent) -> JobState:
    return JobState(
        status=JobStatus.PENDING,
        reason=None,
        message="",
        exit_code=None,
        attempt=event.attempt,
        created_at=event.created_at or event.at,
        started_at=None,
        finished_at=None,
    )


def _merge(state: JobState, event: JobEvent, *, newer: bool) -> JobState:
    finished_at = event.at if newer and event.status.finished else state.finished_at
    return JobState(
        status=event.status if newer else state.status,
        reason=event.reason if newer else state.reason,
        message=event.message if newer else state.message,
        exit_code=event.exit_code if newer else state.exit_code,
        attempt=max(state.attempt, event.attempt),
        created_at=min(state.created_at, event.created_at or event.at),
        started_at=_earliest(state.started_at, event.started_at),
        finished_at=finished_at,
    )


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
