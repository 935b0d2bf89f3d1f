"""Supervisors that have no job: one that has ended its last waits a while for the next, which starts sooner with it.

Each waits at a FIFO of its own. Who hands it a job locks the FIFO, writes the job's id, and removes the FIFO; a
supervisor that has waited long enough locks and removes it, too. So a job is written only to somebody who reads it.
"""

from __future__ import annotations

import binascii
import contextlib
import fcntl
import os
import select
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lyftlearn_local.store.files import JobFiles, Store

PATIENCE = 5.0
"""Seconds that a supervisor waits. As many wait as have run just now: to start one takes as long as a short job."""
_LONGEST_ID = 255
_OF_A_PROCESS = ("cgroup", "limits")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def surroundings(command: Sequence[str]) -> str:
    """Return a name for what a supervisor takes along from who started it, and for the code that it runs.

    Only a job that would be given the same may have it: a submitter in another control group, or after an upgrade,
    starts its own.
    """
    user = (os.geteuid(), os.getegid(), sorted(os.getgroups()))
    parts = [*command, code(), str(user), str(os.nice(0))]
    with contextlib.suppress(OSError, AttributeError):  # a system that is not Linux has less to tell
        parts.append(str(sorted(os.sched_getaffinity(0))))
        parts += map(_read_text, _OF_A_PROCESS)
        parts += [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES]  # noqa: PTH115 - each submission asks
    text = "\n".join(parts).encode("utf-8", "surrogateescape")
    return f"{binascii.crc32(text):08x}"


def code() -> str:
    """Return what tells the code of now from that of before an upgrade."""
    status = os.stat(__file__)  # noqa: PTH116 - each job asks
    return str((status.st_ino, status.st_mtime_ns))


def _read_text(name: str) -> str:
    with open(f"/proc/self/{name}") as file:  # noqa: PTH123 - as above
        return file.read()


def wait_for_job(store: Store, name: str) -> JobFiles | None:
    """Wait for a job in the same surroundings; None if there was none in time, or no FIFO can be had."""
    path = store.idle / f"{name}-{os.getpid()}"
    try:
        fifo = _open_fifo(path)
    except OSError:
        return None
    try:
        job_id = _read(fifo, path)
    finally:
        path.unlink(missing_ok=True)
        os.close(fifo)
    return store.job(job_id) if job_id else None


def _open_fifo(path: Path) -> int:
    """Make a FIFO that has a reader as soon as it is there: one without is taken for that of a killed supervisor."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    os.mkfifo(draft, 0o600)
    fifo = os.open(draft, os.O_RDWR | os.O_NONBLOCK)
    draft.rename(path)
    return fifo


def _read(fifo: int, path: Path) -> str:
    """Return what was written before the FIFO was removed, by whomever."""
    poller = select.poll()
    poller.register(fifo, select.POLLIN)
    while not poller.poll(PATIENCE * 1000) and not _take_lock(fifo):
        pass
    path.unlink(missing_ok=True)
    with contextlib.suppress(BlockingIOError):
        return os.read(fifo, _LONGEST_ID).partition(b"\n")[0].decode()
    return ""


def hand_over(store: Store, name: str, job_id: str) -> bool:
    """Give the job to a supervisor that waits in the same surroundings; whether there was one."""
    return any(_write(path, job_id) for path in store.idle.glob(f"{name}-*"))


def _write(path: Path, job_id: str) -> bool:
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody reads: it was killed
        with contextlib.suppress(OSError):  # or it is a directory
            path.unlink()
        return False
    try:
        if not _take_lock(fifo) or not path.exists():
            return False
        os.write(fifo, f"{job_id}\n".encode())
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(fifo)
    return True


def _take_lock(fifo: int) -> bool:
    try:
        fcntl.flock(fifo, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
