"""What is on disk: jobs, the queue of those that wait, the slots of those that run.

Read and written by clients and supervisors alike. Standard library only, and little of it: every supervisor loads this.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FINAL = frozenset(("succeeded", "failed", "stopped"))
RESERVE_BYTES = 16384
ASKED_TO_STOP = "asked to stop"
SUPERVISOR_LOST = "its supervisor is gone without a word: it was killed, or the machine restarted; submit the job again"


class JobFiles:
    """The directory of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"
        self.stop_path = path / "stop"

    def record(self) -> dict[str, Any]:
        """What was written at submission and never changes."""
        record: dict[str, Any] = json.loads((self.path / "job.json").read_bytes())
        return record

    def events(self) -> list[dict[str, Any]]:
        """Every whole event so far; a line that was torn by a crash or a full disk is skipped."""
        try:
            lines = self.events_path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [event for line in lines if line and (event := _parse(line)) is not None]

    def append(self, event: dict[str, Any]) -> None:
        """Write one event, on a full disk from the space that was kept back."""
        line = b"\n" + json.dumps(event).encode() + b"\n"
        lasting = event["status"] == "starting" or event["status"] in FINAL
        try:
            _append(self.events_path, line, lasting=lasting)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            (self.path / "reserve").unlink(missing_ok=True)
            _append(self.events_path, line, lasting=lasting)

    def log(self, node: int) -> Path:
        """The output of one node, byte for byte."""
        return self.path / "logs" / f"{node}.log"

    def log_index(self, node: int) -> Path:
        """When the output of one node arrived: pairs of (offset of the end, nanoseconds since the epoch)."""
        return self.path / "logs" / f"{node}.index"

    def node(self, node: int) -> Path:
        """What belongs to one node while it runs."""
        return self.path / "nodes" / str(node)

    def try_lock(self) -> Lock | None:
        """Take the job, as its supervisor does for as long as it lives."""
        return Lock.take(self.path / "lock")


class Lock:
    """An flock, which the kernel releases however its holder dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """Return the lock, or None if somebody has it."""
        return cls._of(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    @classmethod
    def _of(cls, descriptor: int) -> Lock | None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @classmethod
    def take_existing(cls, path: Path) -> Lock | None:
        """Return the lock, or None if somebody has it. Raises FileNotFoundError."""
        return cls._of(os.open(path, os.O_RDWR))

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Lock:
        """Return the lock that this process had before it became another program."""
        return cls(descriptor)

    def hand_over(self) -> int:
        """Let the program that this process becomes keep the lock; return what it needs to know."""
        os.set_inheritable(self._descriptor, True)
        return self._descriptor

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.release()


class Store:
    """Everything that one of the local backends keeps under its home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = root / "jobs"
        self.queue = root / "queue"
        self.slots = root / "slots"
        self.temporary = root / "tmp"

    def make(self) -> None:
        """Create the directories, for this user only."""
        for path in (self.jobs, self.queue, self.slots, self.temporary):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def job(self, job_id: str) -> JobFiles:
        """The job called `job_id`, which need not exist."""
        return JobFiles(self.jobs / job_id)

    def enqueue(self, job_id: str, created_at: float) -> None:
        """Let the job wait for a slot; again is no harm."""
        (self.queue / f"{created_at:020.6f}-{job_id}").touch()

    def dequeue(self, job_id: str, created_at: float) -> None:
        """Let it wait no longer."""
        (self.queue / f"{created_at:020.6f}-{job_id}").unlink(missing_ok=True)

    def waiting(self) -> list[str]:
        """The ids of the jobs that wait, oldest first."""
        return [name.partition("-")[2] for name in sorted(path.name for path in self.queue.iterdir())]

    def claim(self, job_id: str) -> Lock | None:
        """Say that the job is about to be started, so that of many that are free only one does; None if one has."""
        for path in self.queue.glob(f"*-{job_id}"):
            try:
                return Lock.take_existing(path)
            except FileNotFoundError:
                continue
        return None

    def forget(self, job_id: str) -> None:
        """Remove whatever entry the queue has for `job_id`."""
        for path in self.queue.glob(f"*-{job_id}"):
            if path.name.partition("-")[2] == job_id:
                path.unlink(missing_ok=True)

    def take_slot(self, slots: int) -> Lock | None:
        """Take one of `slots` places to run in, or None if all are taken."""
        for number in range(slots):
            if lock := Lock.take(self.slots / str(number)):
                return lock
        return None


def event(status: str, **details: Any) -> dict[str, Any]:
    """One observation of now, as it is written."""
    return {"status": status, "at": time.time(), "attempt": 1} | details


def lost_supervisor_event(at: float, last: dict[str, Any]) -> dict[str, Any]:
    """The end of a job whose supervisor died, after its `last` event."""
    details = {key: last[key] for key in ("attempt", "started_at") if key in last}
    return event("failed", reason="platform", message=SUPERVISOR_LOST, **details) | {"at": at}


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its pid, what tells it from a later one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return parsed


def _append(path: Path, data: bytes, *, lasting: bool) -> None:
    """Add whole `data` or raise. lasting: wait for the disk, since a job must neither start nor end twice."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if lasting:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
