"""When jobs end, for those who read their logs: one question for all of them, however many there are."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

from lyftlearn.backend import WatchSet
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.status.poller import Poller

_SOON, _LONGEST_PAUSE = 2.0, 3600.0


class JobEnds:
    """Polls while somebody asks, and no sooner than a watch would."""

    def __init__(self, poller: Poller, watched: WatchSet) -> None:
        self._poller = poller
        self._watched = watched
        self._readers: Counter[str] = Counter()
        self._events: dict[str, JobEvent] = {}
        self._lock = threading.Lock()
        self._polling = threading.Lock()
        self._polled_at = -_LONGEST_PAUSE

    def add(self, event: JobEvent) -> None:
        """Somebody reads the log of a job, of which `event` was the last."""
        with self._lock:
            self._readers[event.job_id] += 1
            self._events[event.job_id] = event
            self._watched.add(event.job_id)

    def discard(self, job_id: str) -> None:
        """One reads it less."""
        with self._lock:
            self._readers[job_id] -= 1
            if not self._readers[job_id]:
                del self._readers[job_id], self._events[job_id]
                self._watched.discard(job_id)

    def end(self, job_id: str, *, soon: bool = False) -> JobEvent | None:
        """Return how a job ended, or None as far as is known. One that is gone was stopped, now.

        soon: its log is complete, so that its end cannot be far.
        """
        pause = min(self._poller.pause, _SOON) if soon else self._poller.pause
        if not self._event(job_id).status.finished and time.monotonic() > self._polled_at + pause:
            self._poll()
        event = self._event(job_id)
        if self._poller.is_gone(job_id):
            return replace(event, status=JobStatus.STOPPED, at=self._poller.now())
        return event if event.status.finished else None

    def _event(self, job_id: str) -> JobEvent:
        """Return the last event: an end is told once, and a reader that came later may have brought older news."""
        heard = self._poller.last_event(job_id)
        return heard if heard is not None and heard.status.finished else self._events[job_id]

    def _poll(self) -> None:
        """Poll, unless another reader does so just now."""
        if not self._polling.acquire(blocking=False):
            return
        try:
            for event in self._poller.poll():
                self._note(event)
        finally:
            self._polled_at = time.monotonic()
            self._polling.release()

    def _note(self, event: JobEvent) -> None:
        with self._lock:
            if event.job_id in self._events:
                self._events[event.job_id] = event
