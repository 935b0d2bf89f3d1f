"""One trial as its study keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lyftlearn._studies.space import Draw
from lyftlearn._studies.study import Study
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial that was drawn.

    job_id: of its train job, which may not have been submitted yet. asked_at: when it was drawn. end: how its job
    ended; None while that is open. objective: None without an end, and where the trial failed. message: why it failed.
    """

    number: int
    draw: Draw
    job_id: str
    asked_at: datetime
    end: JobEvent | None = None
    objective: float | None = None
    message: str = ""

    @property
    def latest(self) -> JobEvent:
        """What is known of the job."""
        return self.end or JobEvent(
            job_id=self.job_id, status=JobStatus.PENDING, at=self.asked_at, created_at=self.asked_at
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain data without what is open."""
        fields: dict[str, Any] = {
            "number": self.number,
            "draw": dict(self.draw),
            "job": self.job_id,
            "asked_at": self.asked_at.timestamp(),
            "end": _event_as_json(self.end) if self.end else None,
            "objective": self.objective,
            "message": self.message,
        }
        return {name: value for name, value in fields.items() if value not in (None, "")}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TrialRecord:
        """Return what `as_json` wrote. Raises ValueError, LookupError or TypeError for anything else."""
        end = fields.get("end")
        return cls(
            number=int(fields["number"]),
            draw={str(name): drawn for name, drawn in fields["draw"].items()},
            job_id=str(fields["job"]),
            asked_at=_moment(fields["asked_at"]),
            end=_event(str(fields["job"]), end) if end else None,
            objective=_objective(fields.get("objective")),
            message=str(fields.get("message", "")),
        )


def best_record(study: Study, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the trial with the best objective; of equal ones the first."""
    best: TrialRecord | None = None
    for record in sorted(records, key=lambda record: record.number):
        if record.objective is None:
            continue
        if best is None or best.objective is None or study.better(record.objective, best.objective):
            best = record
    return best


def _event_as_json(event: JobEvent) -> dict[str, Any]:
    fields = {
        "status": str(event.status),
        "at": event.at.timestamp(),
        "reason": str(event.reason) if event.reason else None,
        "message": event.message,
        "exit_code": event.exit_code,
        "attempt": event.attempt,
        "created_at": event.created_at.timestamp() if event.created_at else None,
        "started_at": event.started_at.timestamp() if event.started_at else None,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _event(job_id: str, fields: Mapping[str, Any]) -> JobEvent:
    reason, created, started = fields.get("reason"), fields.get("created_at"), fields.get("started_at")
    return JobEvent(
        job_id=job_id,
        status=JobStatus(fields["status"]),
        at=_moment(fields["at"]),
        reason=FailureReason(reason) if reason else None,
        message=str(fields.get("message", "")),
        exit_code=fields.get("exit_code"),
        attempt=int(fields.get("attempt", 1)),
        created_at=_moment(created) if created is not None else None,
        started_at=_moment(started) if started is not None else None,
    )


def _objective(stored: float | None) -> float | None:
    objective = None if stored is None else float(stored)
    if objective is not None and not math.isfinite(objective):
        raise ValueError(f"the objective is {objective}")
    return objective


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
