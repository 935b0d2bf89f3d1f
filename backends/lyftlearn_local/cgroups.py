"""Memory limits through control groups, version 1 or 2, where this process may make one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
REMEDY = "run as root or under a delegated cgroup (`systemd-run --user --scope -p Delegate=yes ...`)"
_EMPTY_WITHIN = 2.0


class MemoryGroup:
    """A group whose processes together get at most `limit` bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        if (path / "memory.max").exists():
            self._events = path / "memory.events"
            (path / "memory.max").write_text(str(limit))
            _try_write(path / "memory.swap.max", "0")
        else:
            self._events = path / "memory.oom_control"
            (path / "memory.limit_in_bytes").write_text(str(limit))
            _try_write(path / "memory.memsw.limit_in_bytes", str(limit))

    def wrap(self, command: list[str]) -> list[str]:
        """Return `command` so that it begins inside the group."""
        enter = 'echo 0 > "$1" && shift && exec "$@"'
        return ["/bin/sh", "-c", enter, "sh", str(self.path / "cgroup.procs"), *command]

    def has_killed(self) -> bool:
        """Whether the kernel killed a process of the group for its memory."""
        with contextlib.suppress(OSError, ValueError):
            lines = dict(line.split() for line in self._events.read_text().splitlines())
            return int(lines.get("oom_kill", "0")) > 0
        return False

    def remove(self) -> None:
        """End whoever is left in the group, and remove it."""
        remove(self.path)


def remove(group: Path) -> None:
    """End whoever is left in `group`, and remove it once the kernel has seen the last process leave."""
    deadline = time.monotonic() + _EMPTY_WITHIN
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
            return
        time.sleep(0.005)


def parent() -> Path | None:
    """The group under which this process may make groups with a limit, or None."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in lines:
        if controllers == "memory":
            own = MOUNT / "memory" / path.lstrip("/")
            return own if os.access(own, os.W_OK) else None
    for _, controllers, path in lines:
        if not controllers:
            return _delegated_group(MOUNT / path.lstrip("/"))
    return None


def _delegated_group(own: Path) -> Path | None:
    """The nearest group from `own` upwards that gives its children the memory controller and lets us make them."""
    for group in (own, *own.parents):
        if not group.is_relative_to(MOUNT):
            return None
        with contextlib.suppress(OSError):
            gives = "memory" in (group / "cgroup.subtree_control").read_text().split()
            if gives and os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK):
                return group
    return None


def _try_write(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        path.write_text(text)
