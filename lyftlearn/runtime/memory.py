"""Whether the kernel killed for want of memory, as the control group counts it."""

from __future__ import annotations

import os

SHARED_GROUP = "LYFTLEARN_SUBSTRATE_SHARED_GROUP"


def out_of_memory_kills(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """How many processes of this control group the kernel has killed for memory; 0 where nothing tells.

    A group that is shared with others than the job, as on this machine where none can be made, tells nothing either.
    """
    if os.environ.get(SHARED_GROUP):
        return 0
    return sum(_count(path) for path in _event_files(root, _memberships(membership))[:1])


def _memberships(path: str) -> dict[str, str]:
    """Controller to group; version 2 has no controller's name."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return {}
    return {controller: group for _, controllers, group in rows for controller in controllers.split(",")}


def _event_files(root: str, groups: dict[str, str]) -> list[str]:
    candidates = [
        os.path.join(root, groups.get("", "/").lstrip("/"), "memory.events"),
        os.path.join(root, "memory.events"),
        os.path.join(root, "memory", groups.get("memory", "/").lstrip("/"), "memory.oom_control"),
        os.path.join(root, "memory", "memory.oom_control"),
    ]
    return [path for path in candidates if os.path.exists(path)]


def _count(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError, IndexError):
        return 0
