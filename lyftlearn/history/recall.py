"""Jobs that their backends do not keep any more, as records that handles are made of."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lyftlearn._text.redaction import redact
from lyftlearn.backend import JobQuery, JobRecord
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._registry import Registry
    from lyftlearn.history.recorder import HistoryRecorder
    from lyftlearn.history.store import History

_AT_ONCE = 100
_ENDS = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


def find_ended(recorder: HistoryRecorder, job_id: str, absence: JobNotFound) -> JobRecord:
    """Return a job that has ended as the history knows it. Raises `absence`, with what is known, if that is less."""
    try:
        rows = _rows(recorder.history(), JobQuery(), job_id=job_id) if recorder.exists else []
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with it, the job is not there
        raise JobNotFound(f"{absence}; and the history cannot be read: {redact(str(exc))}") from absence
    if not rows:
        raise absence
    if rows[0]["status"] not in _ENDS:
        at = f"{rows[0]['at']:%Y-%m-%d %H:%M UTC}"
        raise JobNotFound(f"{absence}. The history knows that it was submitted at {at}, and not how it ended")
    return _record(rows[0])


def list_records(
    registry: Registry, recorder: HistoryRecorder | None, names: Sequence[str], query: JobQuery
) -> Iterator[tuple[JobRecord, bool]]:
    """Yield the jobs of backends, newest first, and whether the backend keeps each: those of the history are ended.

    recorder: gives the history; None for those who have no time for it.
    """
    kept = [
        ((record, True) for record in _list_backend(registry, name, query, alone=len(names) == 1)) for name in names
    ]
    ended = ((record, False) for record in _list_ended(recorder, names, query))
    seen: set[str] = set()
    for record, is_kept in heapq.merge(*kept, ended, key=_newest_first):
        if record.id not in seen:
            seen.add(record.id)
            yield record, is_kept


def _list_backend(registry: Registry, name: str, query: JobQuery, *, alone: bool) -> Iterator[JobRecord]:
    try:
        yield from registry.get(name).list(query)
    except Exception as exc:
        if alone:
            raise
        why = redact(str(exc)) or type(exc).__name__
        # Eight frames up, through the listing and the merging generators, is the caller's line.
        warnings.warn(f"the jobs of backend {name} are missing here: {why}", stacklevel=8)


def _list_ended(recorder: HistoryRecorder | None, names: Sequence[str], query: JobQuery) -> Iterator[JobRecord]:
    if recorder is None or not recorder.exists or query.status not in (None, *_ENDS):
        return
    try:
        history = recorder.history()
        rows = _rows(history, query, names=names)
        while rows:
            records = map(_record, rows)
            yield from (record for record in records if query.matches(record))
            rows = _rows(history, query, names=names, before=(rows[-1]["at"], rows[-1]["job_id"]))
    except Exception as exc:  # noqa: BLE001 - the jobs that backends keep are listed all the same
        why = redact(str(exc)) or type(exc).__name__
        warnings.warn(f"jobs that only the history knows are missing here: {why}", stacklevel=8)


def _newest_first(one: tuple[JobRecord, bool]) -> float:
    event = one[0].event
    return -(event.created_at or event.at).timestamp()


def _rows(
    history: History,
    query: JobQuery,
    *,
    job_id: str | None = None,
    names: Sequence[str] = (),
    before: tuple[datetime, str] | None = None,
) -> list[Mapping[str, Any]]:
    """Return one job, or a page of those that have ended, newest first."""
    import sqlalchemy as sa  # noqa: PLC0415 - only for those who look back

    from lyftlearn.history.tables import details, jobs  # noqa: PLC0415 - brings SQLAlchemy

    told = (details.c[name] for name in ("labels", "decision", "digest", "outputs", "message", "attempt"))
    asked = sa.select(jobs, *told).outerjoin(details, details.c.job_id == jobs.c.job_id)
    if job_id is not None:
        return history.select(asked.where(jobs.c.job_id == job_id))
    wanted = {"model": query.name, "kind": query.kind, "status": query.status}
    asked = asked.where(
        jobs.c.backend.in_(names),
        jobs.c.status.in_(_ENDS),
        *(jobs.c[column] == str(value) for column, value in wanted.items() if value is not None),
    )
    if query.since is not None:
        asked = asked.where(jobs.c.at >= query.since)
    if before is not None:
        asked = asked.where(sa.tuple_(jobs.c.at, jobs.c.job_id) < sa.tuple_(*map(sa.literal, before)))
    return history.select(asked.order_by(jobs.c.at.desc(), jobs.c.job_id.desc()).limit(_AT_ONCE))


def _record(row: Mapping[str, Any]) -> JobRecord:
    event = JobEvent(
        job_id=row["job_id"],
        status=JobStatus(row["status"]),
        at=row["finished_at"] or row["started_at"] or row["created_at"] or row["at"],
        attempt=row["attempt"] or 1,
        reason=FailureReason(row["reason"]) if row["reason"] else None,
        message=row["message"] or "",
        exit_code=row["exit_code"],
        created_at=row["created_at"] or row["at"],
        started_at=row["started_at"],
    )
    return JobRecord(
        id=row["job_id"],
        kind=JobKind(row["kind"]),
        name=row["model"],
        labels=row["labels"] or {},
        digest=row["digest"] or "",
        decision=row["decision"] or "",
        event=event,
        outputs=row["outputs"],
        nodes=row["nodes"],
    )
