"""From files to the values of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_local.store.files import FINAL, BrokenRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lyftlearn.backend import Timings


class BrokenLog(LyftLearnError):
    """A log is there that cannot be read; the text says which, and why."""


def job_record(record: Mapping[str, Any], last: Mapping[str, Any] | None) -> JobRecord:
    """Return the record of a job whose newest event is `last`; None before the first. Raises BrokenRecord."""
    try:
        kind = JobKind(record["kind"])
    except ValueError as error:
        raise BrokenRecord(f"{record['id']} is of a kind that this version does not know: {error}") from error
    return JobRecord(
        id=record["id"],
        kind=kind,
        name=record["name"],
        labels=_texts(record["labels"]),
        digest=record["digest"],
        decision=record["decision"],
        event=job_event(record, last),
        outputs=_texts(record["outputs"]),
        nodes=record.get("run", {}).get("nodes"),
    )


def _texts(table: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a table that anybody with this home may have changed."""
    return {name: value for name, value in table.items() if isinstance(value, str)}


def job_event(record: Mapping[str, Any], last: Mapping[str, Any] | None) -> JobEvent:
    """Return the newest observation of a job."""
    last = last or {"status": "pending", "at": record["created_at"]}
    started_at = last.get("started_at")
    return JobEvent(
        job_id=record["id"],
        status=JobStatus(last["status"]),
        at=_time(last["at"]),
        attempt=last.get("attempt") or 1,
        reason=_reason(last.get("reason")),
        message=last.get("message", ""),
        exit_code=last.get("exit_code"),
        created_at=_time(record["created_at"]),
        started_at=_time(started_at) if started_at else None,
    )


def job_timings(record: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Timings:
    """Return where the time went of a job with these events; the image of a local job is this machine."""
    from lyftlearn.backend import PhaseName, Timings, consecutive_phases  # noqa: PLC0415 - a submission does without

    last = events[-1] if events else {}
    begun, ran = next((event for event in events if event["status"] == "starting"), None), last.get("started_at")
    command_ended_at = last.get("command_ended_at")
    ends = [
        (PhaseName.WAITING, _time(begun["at"]) if begun else None),
        (PhaseName.FETCHING, _time(ran) if ran else None),
        (PhaseName.RUNNING, _time(command_ended_at) if command_ended_at else None),
    ]
    current = PhaseName.RUNNING if ran else PhaseName.FETCHING if begun else PhaseName.WAITING
    finished_at = _time(last["at"]) if last.get("status") in FINAL else None
    last_phase = PhaseName.UPLOADING if command_ended_at else current
    return Timings(consecutive_phases(_time(record["created_at"]), ends, last_phase, finished_at))


def _reason(text: str | None) -> FailureReason | None:
    """A later version may know more reasons; here they are the platform's."""
    if not text:
        return None
    try:
        return FailureReason(text)
    except ValueError:
        return FailureReason.PLATFORM


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
