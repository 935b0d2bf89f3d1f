"""Following many jobs by looking at one file each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import JobNotFound
from lyftlearn_local.store.files import FINAL
from lyftlearn_local.store.records import job_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import WatchSet
    from lyftlearn.events import JobEvent
    from lyftlearn_local.store.files import JobFiles
    from lyftlearn_local.store.jobs import Jobs

SHORTEST_PAUSE, LONGEST_PAUSE, GROWTH = 0.002, 0.25, 1.3
LOOKING = 20
"""Times as long as a look at all jobs takes is the pause at least, so that to follow many costs little."""
LOOK_AFTER = 1.0
"""Seconds between looks at whether a job's supervisor lives; a change of its file is seen sooner."""


def watch(jobs: Jobs, following: WatchSet) -> Iterator[JobEvent]:
    """Yield an event per followed job and per change, until `following` is closed."""
    watched: dict[str, WatchedJob] = {}
    pause = SHORTEST_PAUSE
    while not following.closed:
        began = time.monotonic()
        ids = following.ids
        watched = {job_id: watched.get(job_id) or WatchedJob(jobs, job_id) for job_id in ids}
        changed = False
        for job_id, job in watched.items():
            try:
                event = job.look()
            except JobNotFound as error:
                following.report_absence(job_id, error)
                continue
            if event is not None:
                changed = True
                yield event
        pause = SHORTEST_PAUSE if changed else pause * GROWTH
        pause = min(max(pause, (time.monotonic() - began) * LOOKING), LONGEST_PAUSE)
        if following.wait_for_change(pause, ids):
            pause = SHORTEST_PAUSE


class WatchedJob:
    """One job, and what was last seen of it."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs = jobs
        self._id = job_id
        self._files: JobFiles | None = None
        self._record: dict[str, Any] = {}
        self._size = -1
        self._last_reported: dict[str, Any] | None | bool = False
        self._due = 0.0
        self._finished = False

    def look(self) -> JobEvent | None:
        """Return the newest event if it was not yet reported. Raises JobNotFound, once in a while."""
        if self._finished or not self._is_due():
            return None
        files = self._find()
        with self._jobs.absence_of(self._id):
            last = self._jobs.newest(files, self._record)
        if last == self._last_reported:
            return None
        self._last_reported = last
        self._finished = last is not None and last["status"] in FINAL
        return job_event(self._record, last)

    def _is_due(self) -> bool:
        size = self._events_size()
        now = time.monotonic()
        if size == self._size and now < self._due:
            return False
        self._size, self._due = size, now + LOOK_AFTER
        return True

    def _events_size(self) -> int:
        try:
            return self._files.events_path.stat().st_size if self._files else -1
        except FileNotFoundError:
            return 0

    def _find(self) -> JobFiles:
        if self._files is None or not self._files.path.exists():
            self._files = None
            self._files = self._jobs.find(self._id)
            self._record = self._files.record()
        return self._files
