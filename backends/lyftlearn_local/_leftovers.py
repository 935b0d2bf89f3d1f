"""Processes that a node without namespaces leaves behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lyftlearn_local import _cgroups
from lyftlearn_local._state import process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SESSION_FIELD = 3  # of /proc/<pid>/stat, counted after the program's name


def end_session(leader: int) -> None:
    """Kill every process of the session that `leader` began."""
    for pid in _members(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def record(path: Path, pid: int) -> None:
    """Note who leads a session, for whoever cleans up after this process was killed."""
    path.write_text(f"{pid} {process_start(pid)}")


def end_recorded(nodes: Path) -> None:
    """End what the nodes of a dead supervisor left: a session whose leader is still the one noted, a memory group."""
    for path in nodes.glob("*/process"):
        _end_noted_session(path)
    for path in nodes.glob("*/group"):
        _cgroups.remove(Path(path.read_text()))


def _end_noted_session(path: Path) -> None:
    pid, _, started = path.read_text().partition(" ")
    if pid and str(process_start(int(pid))) == started:
        end_session(int(pid))


def _members(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _session(entry) == leader:
            yield int(entry.name)


def _session(process: Path) -> int | None:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[_SESSION_FIELD])
