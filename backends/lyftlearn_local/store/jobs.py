"""The jobs of one local backend as a client sees them: found, submitted, and looked after when a supervisor is not."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn_local.store.files import (
    ASKED_TO_STOP,
    FINAL,
    JobFiles,
    Store,
    event,
    lost_supervisor_event,
    process_start,
)
from lyftlearn_local.store.leftovers import end_job
from lyftlearn_local.store.submission import refusal, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from lyftlearn_local.store.submission import Submission

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LOOK_AFTER_SECONDS = 1.0
_STALE_SECONDS = 3600.0


class Jobs:
    """Reads and writes the store; safe to share between threads."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.store = Store(root)
        self._settling = threading.Lock()

    def find(self, job_id: str) -> JobFiles:
        """Return the files of a job. Raises JobNotFound."""
        files = self.store.job(job_id)
        if not _ID.fullmatch(job_id) or not (files.path / "job.json").exists():
            raise JobNotFound(f"{self.name} has no job {job_id} in {self.store.jobs}")
        return files

    def newest_first(self, since: datetime | None) -> Iterator[JobFiles]:
        """Yield the jobs created at or after `since`; job.json has the time of creation as its own."""
        by_age = []
        for path in self.store.jobs.iterdir() if self.store.jobs.exists() else ():
            with contextlib.suppress(FileNotFoundError):
                by_age.append(((path / "job.json").stat().st_mtime_ns, path))
        for created, path in sorted(by_age, reverse=True):
            if since is None or created / 1e9 + 1e-3 >= since.timestamp():
                yield JobFiles(path)

    def newest(self, files: JobFiles, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the newest event, after doing what a dead supervisor or client left undone."""
        events = files.events()
        last = events[-1] if events else None
        quiet = time.time() - (last["at"] if last else record["created_at"])
        if (last is None or last["status"] not in FINAL) and quiet > _LOOK_AFTER_SECONDS:
            last = self._revive(files, record)
        return _with_stop_request(files, last)

    def _revive(self, files: JobFiles, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Whether the job's supervisor lives is told by its lock alone."""
        with self._settling:
            lock = files.try_lock()
            if lock is None:
                return _last(files)
            with lock:
                last = _last(files)
                if last and last["status"] not in FINAL:
                    return _settle(files, last)
        if last is None:
            self._start(files, record)
        return last

    def submit(self, submission: Submission) -> JobFiles:
        """Write the job and start its supervisor; renaming its directory into place is the commit point."""
        record = submission.record
        files = self.store.job(record["id"])
        if not files.path.exists():
            try:
                self._commit(files, submission)
            except OSError as error:
                raise refusal(self.store.root, error) from error
        elif files.record()["digest"] != record["digest"]:
            raise Conflict(f"{record['id']} exists with other arguments", record["id"])
        return files

    def _commit(self, files: JobFiles, submission: Submission) -> None:
        self.store.make()
        self._sweep()
        record = submission.record
        draft = JobFiles(self.store.temporary / f"{record['id']}.{secrets.token_hex(4)}")
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
            if files.record()["digest"] != digest:
                raise Conflict(f"{files.path.name} exists with other arguments", files.path.name) from error
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
        slot = self.store.take_slot(record["run"]["parallel"])
        if slot is None:
            return
        slot.release()
        command = [*record["run"]["supervisor"], str(files.path)]
        in_background = ["/bin/sh", "-c", """trap '' USR1; "$@" &""", "sh", *command]
        subprocess.run(
            in_background,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            check=True,
        )

    def stop(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        """Put the wish on record, then tell the supervisor; without one, end the job here."""
        if (last := _last(files)) and last["status"] in FINAL:
            return
        try:
            files.stop_path.touch()
        except OSError as error:
            raise BackendUnavailable(f"the wish to stop {files.path.name} cannot be written: {error}") from error
        if lock := files.try_lock():
            with lock:
                if _last(files) is None:
                    files.append(event("stopped", message="stopped before it started"))
                    self.store.dequeue(files.path.name, record["created_at"])
        _signal_supervisor(files)

    def _sweep(self) -> None:
        """Remove drafts of clients that died."""
        for path in self.store.temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another client has just moved its own
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def _last(files: JobFiles) -> dict[str, Any] | None:
    events = files.events()
    return events[-1] if events else None


def _with_stop_request(files: JobFiles, last: dict[str, Any] | None) -> dict[str, Any] | None:
    """A wish is on record as soon as it is written, whether or not the supervisor has seen it."""
    if last is None or last["status"] in FINAL or not files.stop_path.exists():
        return last
    return last | {"status": "stopping", "message": ASKED_TO_STOP}


def _settle(files: JobFiles, last: dict[str, Any]) -> dict[str, Any]:
    """Write the end of a job whose supervisor died. Where that cannot be written it is said all the same."""
    end = lost_supervisor_event(_last_sign(files), last)
    end_job(files.path)
    shutil.rmtree(files.path / "nodes", ignore_errors=True)
    try:
        files.append(end)
    except OSError:
        return end
    return end


def _last_sign(files: JobFiles) -> float:
    """When the job was last seen alive."""
    return max(path.stat().st_mtime for path in (files.events_path, *files.path.glob("logs/*.log")))


def _signal_supervisor(files: JobFiles) -> None:
    """Wake it. Should it have another job by now nothing happens there; no other process is ever signalled."""
    for past in files.events():
        if "supervisor" in past:
            pid, started = past["supervisor"]
            if process_start(pid) == started:
                os.kill(pid, signal.SIGUSR1)
