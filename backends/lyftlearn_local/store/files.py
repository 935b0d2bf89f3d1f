"""What is on disk: jobs, the queue of those that wait, the slots of those that run.

Read and written by clients and supervisors alike. Standard library only, and little of it: every supervisor loads this.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from pathlib import Path

from lyftlearn_local.store.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

FINAL = frozenset(("succeeded", "failed", "stopped"))
STATUSES = FINAL | {"pending", "starting", "running", "stopping"}
RESERVE_BYTES = 16384
ASKED_TO_STOP = "asked to stop"
NOT_STARTED = "its supervisor could not be started"
NOT_STARTED_REMEDY = "submit the job again from an environment that stays"
_LAST_BYTES = 700
_EVENT = {"attempt": (int, type(None)), "exit_code": (int, type(None)), "reason": (str, type(None))}
_YEAR_10000 = 253_402_300_800  # seconds since 1970
_LARGEST_RECORD = 64 << 20  # bytes
_MOST_OF_EVENTS = 4 << 20  # bytes at either end; a job has a few lines of some hundred
DRIVERS = "drivers"
"""The slots of jobs that submit others and wait for them."""
_FIRST_DRIVER, _MOST_DRIVERS = 1_000_000, 64
_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES)
"""What a directory, a link, a socket, or a file that its owner may not open, answers who opens it as a lock."""


class BrokenRecord(Exception):
    """A job.json that is not whole, or not one. The text says what is wrong with it."""


class JobFiles:
    """The directory of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"
        self.stop_path = path / "stop"
        self.environment_path = path / "environment.json"
        self.words_path = path / "supervisor.log"
        self.not_started_path = path / "not-started"

    def record(self) -> dict[str, Any]:
        """What was written at submission and never changes. Raises BrokenRecord."""
        path = self.path / "job.json"
        record: dict[str, Any] = self._document("job.json")
        for key, kind in _RECORD.items():
            if not isinstance(record, dict) or not isinstance(record.get(key), kind):
                raise BrokenRecord(f"{path} is no job's record: it has no usable {key!r}")
        if not _is_moment(record["created_at"]):
            raise BrokenRecord(f"{path} is no job's record: it was made at no time")
        if fault := _fault_of_run(record["run"]):
            raise BrokenRecord(f"{path} is no job's record: it has no usable {fault!r} in 'run'")
        return record

    def bundle(self) -> dict[str, Any]:
        """What the runtime was given. Raises BrokenRecord."""
        bundle: dict[str, Any] = self._document("bundle.json")
        return bundle

    def _document(self, name: str) -> Any:
        path = self.path / name
        try:
            if (size := path.stat().st_size) > _LARGEST_RECORD:
                raise BrokenRecord(f"{path} has {size} bytes, and a job's record at most {_LARGEST_RECORD}")
            with open(path, "rb", opener=open_at_once) as file:
                return json.loads(file.read())
        except (OSError, RecursionError, ValueError) as error:
            raise BrokenRecord(f"{path} cannot be read: {error}") from error

    def is_whole(self) -> bool:
        """Whether the record can be read."""
        try:
            self.record()
        except BrokenRecord:
            return False
        return True

    def events(self) -> list[dict[str, Any]]:
        """Every whole event so far. Raises BrokenRecord.

        A line that was torn by a crash or a full disk is skipped, and so is a status that this version does not know.
        """
        return [event for event in self._lines() if _is_event(event)]

    def has_begun(self) -> bool:
        """Whether a supervisor has taken the job, of whatever version, as far as anybody can tell: it runs once."""
        try:
            return bool(self._lines())
        except BrokenRecord:
            return True

    def _lines(self) -> list[dict[str, Any]]:
        try:
            lines = _read_ends(self.events_path).split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BrokenRecord(f"{self.events_path} cannot be read: {error.strerror}") from error
        return [parsed for line in lines if line and (parsed := _parse(line)) is not None]

    def append(self, event: dict[str, Any]) -> None:
        """Write one event, on a full disk from the space that was kept back. With the last, credentials go."""
        if event["status"] in FINAL:
            self.environment_path.unlink(missing_ok=True)
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

    @property
    def notebook_path(self) -> Path:
        """Where the runtime of a notebook tells how it is reached. It goes when the run ends."""
        return self.path / "nodes" / "notebook.json"

    def redirect_errors(self) -> None:
        """Have this process print its errors into the job's directory."""
        words = os.open(self.words_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(words, 2)
        os.close(words)

    def fail_to_start(self, words: str = "") -> None:
        """End the job because its supervisor could not be started; nothing happens where it has begun after all."""
        lock = self.try_lock()
        if lock is None:
            return
        with lock:
            if not self.has_begun():
                words = words or self.last_words() or "it ended before it began"
                message = f"{NOT_STARTED} ({words}): {NOT_STARTED_REMEDY}"
                self.append(event("failed", reason="configuration", message=message))

    def last_words(self) -> str:
        """The last line that a supervisor printed, for it prints only when it ends by an error."""
        try:
            with open(self.words_path, "rb", opener=open_at_once) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
                words = file.read(_LAST_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
        return words.strip().rpartition("\n")[2]

    def try_lock(self) -> Lock | None:
        """Take the job, as its supervisor does for as long as it lives. Raises BrokenRecord, and FileNotFoundError."""
        try:
            return Lock.take(self.path / "lock")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BrokenRecord(f"{self.path / 'lock'} cannot be taken: {error.strerror}") from error


class Store:
    """Everything that one of the local backends keeps under its home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = root / "jobs"
        self.queue = root / "queue"
        self.slots = root / "slots"
        self.temporary = root / "tmp"
        self.idle = root / "idle"

    def make(self) -> None:
        """Create the directories, for this user only."""
        for path in (self.root, self.jobs, self.queue, self.slots, self.temporary):
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
        return [job_id for name in sorted(self._entries()) if (job_id := name.partition("-")[2])]

    def _entries(self, job_id: str | None = None) -> list[str]:
        """The names of files in the queue: all, or those of one job. Each supervisor looks, so it is a plain list."""
        try:
            names = os.listdir(self.queue)  # noqa: PTH208 - a thousand paths would cost more than to read them
        except OSError:
            return []
        return names if job_id is None else [name for name in names if name.partition("-")[2] == job_id]

    def waiting_jobs(self) -> Iterator[JobFiles]:
        """The jobs in the queue, oldest first; those that have no business there are taken out."""
        for job_id in self.waiting():
            job = self.job(job_id)
            if job.is_whole() and not job.has_begun():
                yield job
            else:
                self.forget(job_id)

    def claim(self, job_id: str) -> Lock | None:
        """Say that the job is about to be started, so that of many that are free only one does; None if one has."""
        for name in self._entries(job_id):
            with contextlib.suppress(FileNotFoundError):
                return self._take(self.queue / name, make=False)
        return None

    def forget(self, job_id: str) -> None:
        """Remove whatever entry the queue has for `job_id`."""
        for name in self._entries(job_id):
            with contextlib.suppress(OSError):
                (self.queue / name).unlink()

    def free_slots(self, run: dict[str, Any]) -> int:
        """How many of the slots nobody has in which such a job may run."""
        taken = [lock for number in _slots(run) if (lock := self._try_slot(number))]
        for lock in taken:
            lock.release()
        return len(taken)

    def take_slot(self, run: dict[str, Any]) -> Lock | None:
        """Take one of the places in which such a job may run, or None if all are taken."""
        return next((lock for number in _slots(run) if (lock := self._try_slot(number))), None)

    def _try_slot(self, number: int) -> Lock | None:
        return self._take(self.slots / str(number))

    def _take(self, path: Path, *, make: bool = True) -> Lock | None:
        """Take a lock, or return None if somebody has it. What is no file, and stands in its place, is put aside.

        Nobody could take that one, so jobs would wait for it for ever. One process at a time looks and puts aside: else
        a second one would move what the first has made and holds.
        """
        lock, is_lock = _try_lock(path, make=make)
        if is_lock:
            return lock
        with Lock.wait_for(self.root / "putting-aside"):
            lock, is_lock = _try_lock(path, make=make)
            if not is_lock:
                path.rename(self.temporary / f"{path.name}.{os.urandom(4).hex()}")
                lock = Lock.take(path)
        return lock


def _try_lock(path: Path, *, make: bool) -> tuple[Lock | None, bool]:
    """Return the lock, or None, and whether what is at `path` can be one."""
    try:
        return Lock.take(path, make=make), True
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
    return None, False


def _slots(run: dict[str, Any]) -> range:
    """The slots of a job: one that waits for other jobs must not take the place in which they are to run."""
    return (
        range(_FIRST_DRIVER, _FIRST_DRIVER + _MOST_DRIVERS) if run.get("slots") == DRIVERS else range(run["parallel"])
    )


_RECORD: dict[str, Any] = {
    "id": str,
    "kind": str,
    "name": str,
    "labels": dict,
    "digest": str,
    "decision": str,
    "outputs": dict,
    "created_at": (int, float),
    "run": dict,
}


def _fault_of_run(run: dict[str, Any]) -> str | None:
    """Return what no job can be run or waited for with: in a queue it would hold up all that come later."""
    kinds = {"layout": str, "supervisor": list, "parallel": int, "nodes": int}
    faults = [key for key, kind in kinds.items() if not isinstance(run.get(key), kind) or run[key] in (0, [])]
    faults += [key for key in ("parallel", "nodes") if key not in faults and run[key] < 1]
    return next(iter(faults), None if _is_limit(run.get("pending")) else "pending")


def _is_limit(limit: Any) -> bool:
    if not isinstance(limit, dict):
        return limit is None
    return isinstance(limit.get("seconds"), (int, float)) and isinstance(limit.get("message"), str)


def overdue_event(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the end of a job that has waited for longer than it may; None for any other."""
    limit = record["run"].get("pending")
    if limit is None or time.time() - record["created_at"] < limit["seconds"]:
        return None
    return event("failed", reason="capacity", message=limit["message"])


def event(status: str, **details: Any) -> dict[str, Any]:
    """One observation of now, as it is written."""
    return {"status": status, "at": time.time(), "attempt": 1} | details


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its pid, what tells it from a later one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _is_event(parsed: dict[str, Any]) -> bool:
    if str(parsed.get("status")) not in STATUSES or not _is_moment(parsed.get("at")):
        return False
    times = (parsed[name] for name in ("started_at", "command_ended_at") if parsed.get(name) is not None)
    return all(map(_is_moment, times)) and all(isinstance(parsed.get(key), kind) for key, kind in _EVENT.items())


def _is_moment(value: object) -> bool:
    """Whether this is a time that a calendar has: JSON can write infinity, and what is no number."""
    return isinstance(value, (int, float)) and 0 <= value < _YEAR_10000


def open_at_once(path: str, flags: int) -> int:
    """Open a file. Whoever opens a pipe, which somebody has put in its place, would wait for a writer."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", path)
    return descriptor


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=open_at_once) as file:
        return file.read()


def _read_ends(path: Path) -> bytes:
    """Return a file; of one that something has filled, the beginning and the end, where a job's events are."""
    with open(path, "rb", opener=open_at_once) as file:
        data = file.read(_MOST_OF_EVENTS)
        left = os.fstat(file.fileno()).st_size - len(data)
        if left > _MOST_OF_EVENTS:
            file.seek(-_MOST_OF_EVENTS, os.SEEK_END)
            data += b"\n"
        return data + file.read(_MOST_OF_EVENTS)


def _append(path: Path, data: bytes, *, lasting: bool) -> None:
    """Add whole `data` or raise. lasting: wait for the disk, since a job must neither start nor end twice."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if lasting:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
