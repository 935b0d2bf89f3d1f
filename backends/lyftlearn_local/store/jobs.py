"""The jobs of one local backend as a client sees them: found, submitted, and looked after when a supervisor is not."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn_local.store import idle, start_mark
from lyftlearn_local.store.files import (
    ASKED_TO_STOP,
    FINAL,
    BrokenRecord,
    JobFiles,
    Store,
    event,
    overdue_event,
    process_start,
)
from lyftlearn_local.store.leftovers import can_look, end_processes, find_starting, settle
from lyftlearn_local.store.starter import start
from lyftlearn_local.store.submission import refusal, sync
from lyftlearn_local.store.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from lyftlearn_local.store.submission import Submission

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_log = logging.getLogger("lyftlearn")
_LOOK_AFTER_SECONDS = 1.0
_STALE_SECONDS = 3600.0


class Jobs:
    """Reads and writes the store; safe to share between threads."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.store = Store(root)
        self._queue_due = 0.0
        self._named: set[Path] = set()

    def find(self, job_id: str) -> JobFiles:
        """Return the files of a job. Raises JobNotFound."""
        self.advance_queue()
        files = self.store.job(job_id)
        if not _ID.fullmatch(job_id) or not (files.path / "job.json").exists():
            raise JobNotFound(f"{self.name} has no job {job_id} in {self.store.jobs}")
        with self.absence_of(job_id):
            files.record()
        return files

    @contextlib.contextmanager
    def absence_of(self, job_id: str) -> Iterator[None]:
        """Say JobNotFound where the files of a job are there, and cannot be read, or are just being removed."""
        try:
            yield
        except (BrokenRecord, FileNotFoundError) as error:
            raise JobNotFound(f"{self.name} cannot tell what became of {job_id}: {error}") from error

    def newest_first(self, since: datetime | None) -> Iterator[JobFiles]:
        """Yield the jobs created at or after `since`; job.json has the time of creation as its own."""
        self.advance_queue()
        for created, path in sorted(self._by_age(), reverse=True):
            if since is None or created / 1e9 + 1e-3 >= since.timestamp():
                yield JobFiles(path)

    def _by_age(self) -> Iterator[tuple[int, Path]]:
        """Whatever stands in the directory of jobs and has a record; a stray file has none."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.store.jobs.iterdir():
                with contextlib.suppress(OSError):
                    yield (path / "job.json").stat().st_mtime_ns, path

    def name_broken(self, files: JobFiles, error: Exception) -> None:
        """Say once that a job was skipped: one broken record must not hide the others."""
        if files.path not in self._named:
            self._named.add(files.path)
            _log.warning("%s: skipped a job: %s", self.name, error)

    def broken(self) -> Iterator[str]:
        """Say of each job that cannot be read what is wrong with it."""
        for _, path in self._by_age():
            try:
                JobFiles(path).record()
            except BrokenRecord as error:
                yield str(error)

    def newest(self, files: JobFiles, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the newest event, after doing what a dead supervisor or client left undone."""
        self.advance_queue()
        events = files.events()
        last = events[-1] if events else None
        quiet = time.time() - (last["at"] if last else record["created_at"])
        if (last is None or last["status"] not in FINAL) and quiet > _LOOK_AFTER_SECONDS:
            last = self._revive(files, record)
        return _with_stop_request(files, last)

    def _revive(self, files: JobFiles, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Whether the job's supervisor lives is told by its lock alone."""
        lock = files.try_lock()
        if lock is None:
            return _last(files)
        with lock:
            last = _last(files)
            if last and last["status"] not in FINAL:
                return settle(files, last)
            if last is None and (end := overdue_event(record)):
                files.append(end)
                self.store.dequeue(files.path.name, record["created_at"])
                return end
        if not files.has_begun():
            self._start_again(files, record)
        return last or _last(files)

    def _start_again(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        """Without a mark nobody was started. One with words that nobody claims is left by one that never began."""
        mark = start_mark.look(files)
        if mark is None:
            self._start(files, record)
        elif mark.has_words and (claim := self.store.claim(files.path.name)):
            with claim:
                files.fail_to_start()
            self.store.forget(files.path.name)
        elif mark.is_overdue or not mark.has_words:
            self._look_after_start(files, record, is_overdue=mark.is_overdue)

    def _look_after_start(self, files: JobFiles, record: Mapping[str, Any], *, is_overdue: bool) -> None:
        """Wait for a Python that takes long, and not for one that hangs. If there is none, its starter was killed."""
        command = [*record["run"]["supervisor"], str(files.path)]
        starting = find_starting(command, self.store.slots)
        if not starting and (is_overdue or can_look()):
            self._start(files, record)
        elif starting and is_overdue:
            end_processes(starting)
            files.fail_to_start(f"{command[0]} did not begin within {start_mark.BEGIN_SECONDS:.0f} seconds")
            self.store.forget(files.path.name)

    def advance_queue(self) -> None:
        """Start what waits although a slot is free: whoever was to start it was killed, or the machine restarted.

        Supervisors that end hand their slot on, so there is seldom anything to do. Looked at once a second.
        """
        now = time.monotonic()
        if now < self._queue_due:
            return
        self._queue_due = now + _LOOK_AFTER_SECONDS
        for files in self._startable():
            with contextlib.suppress(BrokenRecord, OSError):
                self._revive(files, files.record())

    def _startable(self) -> list[JobFiles]:
        """As many of the oldest jobs that wait as there are free slots, and those whose start takes long.

        Those about to be started, by whomever, are none of them.
        """
        startable: list[JobFiles] = []
        marked = 0
        with contextlib.suppress(BrokenRecord, OSError):
            for files in self.store.waiting_jobs():
                record = files.record()
                fresh = time.time() - record["created_at"] < _LOOK_AFTER_SECONDS
                if fresh or len(startable) - marked >= self.store.free_slots(record["run"]):
                    break
                if claim := self.store.claim(files.path.name):
                    claim.release()
                    startable.append(files)
                    marked += start_mark.look(files) is not None
        return startable

    def submit(self, submission: Submission) -> JobFiles:
        """Write the job and start its supervisor; renaming its directory into place is the commit point."""
        record = submission.record
        files = self.store.job(record["id"])
        if not files.path.exists():
            try:
                self._commit(files, submission)
            except OSError as error:
                raise refusal(self.store.root, error) from error
        else:
            _check_digest(files, record["digest"])
        self.advance_queue()
        return files

    def _commit(self, files: JobFiles, submission: Submission) -> None:
        self.store.make()
        self._sweep()
        record = submission.record
        draft = JobFiles(self.store.temporary / f"{record['id']}.{os.urandom(4).hex()}")
        try:
            submission.write(draft)
            ours = self._move(draft, files, record["digest"])
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)
        if ours:
            self._start(files, record)

    def _move(self, draft: JobFiles, files: JobFiles, digest: str) -> bool:
        """Return whether this process made the job, not another at the same time."""
        try:
            draft.path.rename(files.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _check_digest(files, digest)
            return False
        sync(self.store.jobs)
        return True

    def _start(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        """From here on the job is accepted: whoever looks at it next does what fails here."""
        try:
            self.store.enqueue(files.path.name, record["created_at"])
            self.wake(files, record)
        except OSError:
            return

    def wake(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        """Start the job's supervisor if there is a slot; otherwise one that ends takes the job from the queue."""
        slot = self.store.take_slot(record["run"])
        if slot is None:
            return
        slot.release()
        command = record["run"]["supervisor"]
        if not idle.hand_over(self.store, idle.surroundings(command), files.path.name):
            start(files, [*command, str(files.path)])

    def stop(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        """Put the wish on record, then tell the supervisor; without one, end the job here."""
        if (last := _last(files)) and last["status"] in FINAL:
            return
        try:
            files.stop_path.touch()
        except FileNotFoundError:  # removed just now
            raise
        except OSError as error:
            raise BackendUnavailable(f"the wish to stop {files.path.name} cannot be written: {error}") from error
        if lock := files.try_lock():
            with lock:
                if not files.has_begun():
                    files.append(event("stopped", message=ASKED_TO_STOP))
                    self.store.dequeue(files.path.name, record["created_at"])
        _signal_supervisor(files)

    def _sweep(self) -> None:
        """Remove drafts of clients that died."""
        for path in self.store.temporary.iterdir():
            with contextlib.suppress(OSError):  # another client has just moved its own
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    remove_tree(path)


def _check_digest(files: JobFiles, digest: str) -> None:
    """Raise Conflict where the job exists with other arguments."""
    job_id = files.path.name
    try:
        same = files.record()["digest"] == digest
    except BrokenRecord as error:
        raise BackendUnavailable(f"{job_id} exists, but not with which arguments: {error}", job_id) from error
    if not same:
        raise Conflict(f"{job_id} exists with other arguments", job_id)


def _last(files: JobFiles) -> dict[str, Any] | None:
    events = files.events()
    return events[-1] if events else None


def _with_stop_request(files: JobFiles, last: dict[str, Any] | None) -> dict[str, Any] | None:
    """A wish is on record as soon as it is written, whether or not the supervisor has seen it."""
    if last is None or last["status"] in FINAL or not files.stop_path.exists():
        return last
    return last | {"status": "stopping", "message": ASKED_TO_STOP}


def _signal_supervisor(files: JobFiles) -> None:
    """Wake it. Should it have another job by now nothing happens there; no other process is ever signalled.

    Where nothing tells one process from a later one with its pid, it is not woken, and looks by itself a little later.
    """
    for past in files.events():
        if "supervisor" in past:
            pid, started = past["supervisor"]
            if started is not None and process_start(pid) == started:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGUSR1)
