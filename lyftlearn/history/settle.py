"""Settling: how jobs have ended that nobody has seen ending.

Whoever looks at the history asks the backends, and writes it down; so it does not matter that the process which
submitted the jobs has long ended. What cannot be asked within the time that is given is left to the next one who looks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn.errors import BackendUnavailable, JobNotFound
from lyftlearn.events import advance
from lyftlearn.history.rows import OutcomeRow
from lyftlearn.history.tables import jobs
from lyftlearn.history.timings import backend_of, timings_rows

if TYPE_CHECKING:
    from lyftlearn._registry import Registry
    from lyftlearn.backend import Backend
    from lyftlearn.history.store import History
    from lyftlearn.types import JobState

_SECONDS_TO_SETTLE = 30.0
_ASKED_AT_ONCE = 8
_MOST_ASKED = 2000
_VISIBLE_AFTER = timedelta(hours=1)  # a list that is read from a copy may lack a job that was accepted just now
_ELSEWHERE = timedelta(days=30)  # within which the clients of another machine tell how its jobs ended


def settle(
    history: History, registry: Registry, *, only_shadows: bool = False, seconds: float = _SECONDS_TO_SETTLE
) -> None:
    """Ask for the end of jobs whose end is not known, and write down what is.

    Asks in no order, so that those which cannot be answered never keep the others from being asked.
    """
    query = sa.select(jobs.c.job_id, jobs.c.at).where(jobs.c.status.is_(None))
    if only_shadows:
        query = query.where(jobs.c.shadow_of.is_not(None))
    rows = history.select(query.order_by(sa.func.random()).limit(_MOST_ASKED))
    if rows:
        inquiry = _Inquiry(history, registry, time.monotonic() + seconds)
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            answers = [answer for answer in pool.map(inquiry.outcome, rows) if answer is not None]
            history.record(*answers)
            ended = [answer.job_id for answer in answers if answer.finished_at is not None]
            history.record(*timings_rows(registry, ended, pool))


def count_open(history: History) -> int:
    """Return how many jobs have no known end."""
    number = sa.func.count(jobs.c.job_id)  # and not of all columns: SQLite would go through another index, of all jobs
    (row,) = history.select(sa.select(number.label("jobs")).where(jobs.c.status.is_(None)))
    return int(row["jobs"])


def absent_for(history: History, backend: Backend) -> timedelta:
    """Return how old a job must be that its backend does not know, until that says that it is gone.

    In a history that many share, jobs on other people's machines are known there alone.
    """
    is_of_one_machine = backend.capabilities().sees_this_machine
    return _ELSEWHERE if is_of_one_machine and history.dialect != "sqlite" else _VISIBLE_AFTER


def outcome(job_id: str, state: JobState) -> OutcomeRow:
    """Return the row of a job that has ended in this state."""
    return OutcomeRow(
        job_id=job_id,
        status=str(state.status),
        reason=str(state.reason) if state.reason else None,
        exit_code=state.exit_code,
        created_at=state.created_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
        message=state.message,
        attempt=state.attempt,
    )


def without_history(job_id: str, status: str) -> OutcomeRow:
    """Return the outcome of a job of which nothing else is known: `refused` or `unknown`."""
    return OutcomeRow(
        job_id=job_id,
        status=status,
        reason=None,
        exit_code=None,
        created_at=None,
        started_at=None,
        finished_at=None,
    )


class _Inquiry:
    """Asks for many jobs; a backend that is away is asked once."""

    def __init__(self, history: History, registry: Registry, until: float) -> None:
        self._history = history
        self._registry = registry
        self._until = until
        self._away: set[str] = set()

    def outcome(self, row: Mapping[str, Any]) -> OutcomeRow | None:
        """Return how a job ended; None if it runs, or its backend cannot be asked now."""
        job_id = row["job_id"]
        try:
            backend = backend_of(job_id, self._registry)
            if backend.name in self._away or time.monotonic() > self._until:
                return None
            return self._ask(backend, job_id, row["at"])
        except Exception:  # noqa: BLE001 - one job of a broken plugin must not hide all others
            return None

    def _ask(self, backend: Backend, job_id: str, at: datetime) -> OutcomeRow | None:
        try:
            state = advance(None, backend.describe(job_id).event).state
        except BackendUnavailable:
            self._away.add(backend.name)
            return None
        except JobNotFound:
            gone = datetime.now(UTC) - at > absent_for(self._history, backend)
            return without_history(job_id, "unknown") if gone else None
        return outcome(job_id, state) if state.status.finished else None
