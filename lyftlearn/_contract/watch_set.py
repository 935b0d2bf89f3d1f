"""Which jobs somebody in this process follows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain

from lyftlearn.errors import JobNotFound


class WatchSet:
    """The jobs that somebody in this process waits for. It changes while `Backend.watch` runs.

    on_absence: is given what `report_absence` reports.
    """

    def __init__(self, on_absence: Callable[[str, JobNotFound], None] | None = None) -> None:
        self._on_absence = on_absence
        self._changed = threading.Condition()
        self._ids: frozenset[str] = frozenset()
        self._changes: dict[str, bool] = {}  # since the ids were read: thousands may be added one after the other
        self._closed = False

    @property
    def ids(self) -> frozenset[str]:
        """The ids of now."""
        with self._changed:
            if changes := self._changes:
                self._changes = {}
                self._ids = frozenset(one for one in chain(self._ids, changes) if changes.get(one, True))
            return self._ids

    @property
    def closed(self) -> bool:
        """Whether `watch` should return."""
        return self._closed

    def add(self, job_id: str) -> None:
        """Follow one more job; wakes `wait_for_change`."""
        with self._changed:
            self._changes[job_id] = True
            self._changed.notify_all()

    def discard(self, job_id: str) -> None:
        """Follow one job less; wakes `wait_for_change`."""
        with self._changed:
            self._changes[job_id] = False
            self._changed.notify_all()

    def report_absence(self, job_id: str, error: JobNotFound) -> None:
        """Say that a job is not there and that nobody can say how it ended: whoever waits for it is told `error`."""
        if self._on_absence is not None:
            self._on_absence(job_id, error)

    def close(self) -> None:
        """Make `watch` return; wakes `wait_for_change`."""
        with self._changed:
            self._closed, self._ids, self._changes = True, frozenset(), {}
            self._changed.notify_all()

    def wait_for_change(self, timeout: float, seen: frozenset[str] | None = None) -> bool:
        """Sleep at most `timeout` seconds; return True at once when the ids change or this is closed.

        seen: the ids that were read last. Where they are given, a change between that reading and this call counts.
        """
        with self._changed:
            before = self.ids if seen is None else seen
            return self._changed.wait_for(lambda: self._closed or bool(self._changes) or self._ids != before, timeout)
