"""Processes that outlive what should have ended them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from lyftlearn_local import cgroups
from lyftlearn_local.containers import container
from lyftlearn_local.store.files import event
from lyftlearn_local.store.trees import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from lyftlearn_local.store.files import JobFiles, Store

SUPERVISOR_LOST = "its supervisor is gone without a word: it was killed, or the machine restarted; submit the job again"
SUPERVISOR_ENDED = "its supervisor ended by an error"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's name for it
_PARENT, _SESSION = 1, 3  # fields of /proc/<pid>/stat, counted after the program's name


def can_look() -> bool:
    """Whether this system shows its processes, as Linux does."""
    return Path("/proc/self/stat").exists()


def end_session(leader: int) -> None:
    """Kill every process of the session that `leader` began, or what can be reached of it: its process group."""
    if can_look():
        end_processes(pid for pid, fields in _processes().items() if int(fields[_SESSION]) == leader)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_job(job: Path) -> None:
    """End what the supervisor of `job` left when it was killed: each node with all that descends from it.

    A node is known by its arguments, which name the job's own runtime: a supervisor that was killed while it started
    the node had no time to note a pid, and the node none to ask to end with it.
    """
    processes = _processes()
    runtime = os.fsencode(job / "runtime.pyz")
    family = {pid for pid in processes if runtime in _arguments(pid)}
    grown = True
    while grown:
        children = {pid for pid, fields in processes.items() if int(fields[_PARENT]) in family}
        grown = not children <= family
        family |= children
    end_processes(family)
    for path in job.glob("nodes/*/group"):
        cgroups.remove(Path(path.read_text()))


def find_starting(command: list[str], slots: Path) -> list[int]:
    """Return the supervisors that were started by `command` and have not begun.

    One that began for this job and went on with another has a slot.
    """
    words = [os.fsencode(word) for word in command]
    return [pid for pid in _processes() if _follow(words, _arguments(pid)) and not _has_open(pid, slots)]


def _follow(words: list[bytes], arguments: list[bytes]) -> bool:
    """Whether `words` follow each other in `arguments`: a script stands behind the program that reads it."""
    return any(arguments[index : index + len(words)] == words for index in range(len(arguments)))


def _has_open(pid: int, directory: Path) -> bool:
    try:
        return any(path.readlink().is_relative_to(directory) for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _end_containers(job: JobFiles) -> None:
    """Remove a job's containers, after the engine's clients, which may be about to make them."""
    run = job.record()["run"]
    if settings := run.get("container"):
        names = container.names_of(job.path, run)
        program, marks = os.fsencode(settings["engine"]["program"]), {os.fsencode(name) for name in names}
        end_processes(pid for pid in _processes() if marks & set(_arguments(pid)) and program in _arguments(pid)[:1])
        container.remove(settings["engine"], *names)


def sweep_containers(store: Store, run: dict[str, Any]) -> None:
    """Remove containers whose job nobody supervises any more: an engine may make one after its client was killed."""
    if settings := run.get("container"):
        names = container.names_in(store.root, settings["engine"])
        if lost := [name for name in names if _is_lost(store, container.job_id_of(name))]:
            container.remove(settings["engine"], *lost)


def _is_lost(store: Store, job_id: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        lock = store.job(job_id).try_lock()
        if lock is None:
            return False
        lock.release()
    return True


def settle(job: JobFiles, last: dict[str, Any]) -> dict[str, Any]:
    """Write the end of a job whose supervisor died. Where that cannot be written it is said all the same."""
    end = _lost_supervisor_event(_last_sign(job), last, job.last_words())
    end_job(job.path)
    _end_containers(job)
    remove_nodes(job.path)
    try:
        job.append(end)
    except OSError:
        return end
    return end


def _lost_supervisor_event(at: float, last: dict[str, Any], words: str) -> dict[str, Any]:
    """The end of a job whose supervisor died, after its `last` event and perhaps with last `words`."""
    details = {key: last[key] for key in ("attempt", "started_at") if key in last}
    message = f"{SUPERVISOR_ENDED} ({words}); submit the job again" if words else SUPERVISOR_LOST
    return event("failed", reason="platform", message=message, **details) | {"at": at}


def _last_sign(job: JobFiles) -> float:
    """When the job was last seen alive."""
    return max(path.stat().st_mtime for path in (job.events_path, *job.path.glob("logs/*.log")))


def remove_nodes(job: Path) -> None:
    """Remove what belonged to nodes while they ran. Without namespaces the runtime keeps secrets in shared memory.

    A runtime that was killed has not taken them back; it names their directory after its job and its rank.
    """
    begin = f"lyftlearn-{job.name}."
    for name in _shared_names():
        if name.startswith(begin) and name.removeprefix(begin).isdecimal():
            with contextlib.suppress(OSError):
                remove_tree(SHARED_MEMORY / name)
    with contextlib.suppress(OSError):
        remove_tree(job / "nodes")


def _shared_names() -> list[str]:
    try:
        return os.listdir(SHARED_MEMORY)  # noqa: PTH208 - a pattern would be compiled for each job
    except OSError:
        return []


def end_processes(pids: Iterable[int]) -> None:
    """Kill each that is there and may be killed."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _processes() -> dict[int, list[bytes]]:
    """Every process of now, and what /proc says of it after its name."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()] if can_look() else []
    fields = {pid: _read(pid, "stat").rpartition(b")")[2].split() for pid in pids}
    return {pid: words for pid, words in fields.items() if words}


def _arguments(pid: int) -> list[bytes]:
    return _read(pid, "cmdline").split(b"\0")


def _read(pid: int, name: str) -> bytes:
    """Nothing for a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
