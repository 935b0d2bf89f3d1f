"""From what was submitted to a running node."""

from __future__ import annotations

import json
import os

from lyftlearn_local import _sandbox
from lyftlearn_local._capture import Capture
from lyftlearn_local._layouts import LAYOUTS
from lyftlearn_local._leftovers import record
from lyftlearn_local._node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local._cgroups import MemoryGroup
    from lyftlearn_local._layouts import Place
    from lyftlearn_local._state import JobFiles


class CannotStart(Exception):
    """A node cannot be started; the text says why and what to do, `reason` whose fault it is."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def take_environment(job: JobFiles) -> dict[str, str]:
    """Read what the client handed over, credentials perhaps, and leave no copy of it on disk."""
    path = job.path / "environment.json"
    found: dict[str, str] = json.loads(path.read_bytes())
    path.unlink()
    return found


def launch(job: JobFiles, run: dict[str, Any], environment: dict[str, str], rank: int, port: int) -> tuple[Node, Place]:
    """Start node `rank`."""
    place = LAYOUTS[run["layout"]](job, run, rank, port)
    group = _memory_group(job, run, rank)
    capture = Capture(job.log(rank), job.log_index(rank))
    info = os.pipe() if run["namespaces"] else None
    if info:
        os.set_blocking(info[0], False)
    argv = _argv(run, place, info)
    try:
        node = Node(rank, group.wrap(argv) if group else argv, environment | place.variables, capture, info)
    except OSError as error:
        raise CannotStart("configuration", _explain(run, error)) from error
    node.group = group
    if info is None:
        record(job.node(rank) / "process", node.process.pid)
    return node, place


def _argv(run: dict[str, Any], place: Place, info: tuple[int, int] | None) -> list[str]:
    if info is None:
        return list(run["runtime"])
    return _sandbox.wrap(
        run["namespaces"],
        run["runtime"],
        binds=place.binds,
        shared_memory=run["shared_memory"],
        user=place.user,
        hostname=place.hostname,
        info=info[1],
    )


def _memory_group(job: JobFiles, run: dict[str, Any], rank: int) -> MemoryGroup | None:
    if run["memory"] is None:
        return None
    from lyftlearn_local import _cgroups

    parent = _cgroups.parent()
    try:
        return _cgroups.MemoryGroup(parent / f"lyftlearn-{job.path.name}-{rank}", run["memory"]) if parent else None
    except OSError as error:
        raise CannotStart("platform", f"the memory limit cannot be set: {error}; {_cgroups.REMEDY}") from error


def _explain(run: dict[str, Any], error: OSError) -> str:
    python = run["runtime"][0]
    if not os.access(python, os.X_OK):
        return f"{python}, the Python that submitted the job, is gone: submit again from an environment that stays"
    if run["namespaces"] and not os.access(run["namespaces"], os.X_OK):
        return f"{run['namespaces']} is gone: {_sandbox.REMEDY}"
    return f"the node cannot be started: {error}"
