"""From what was submitted to a running node."""

from __future__ import annotations

import json
import os

from lyftlearn_local import _cgroups, _sandbox
from lyftlearn_local._capture import Capture
from lyftlearn_local._layouts import LAYOUTS
from lyftlearn_local._node import Node
from lyftlearn_local._place import CannotGoOn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local._place import NodeFacts, Place
    from lyftlearn_local._state import JobFiles


def take_environment(job: JobFiles) -> dict[str, str]:
    """Read what the client handed over, credentials perhaps, and leave no copy of it on disk."""
    path = job.path / "environment.json"
    found: dict[str, str] = json.loads(path.read_bytes())
    path.unlink()
    return found


def launch(facts: NodeFacts) -> tuple[Node, Place]:
    """Start a node."""
    _check_programs(facts.run)
    facts.directory.mkdir(parents=True)
    place = LAYOUTS[facts.run["layout"]](facts)
    place.tell_progress(facts.directory / "progress")
    group = _memory_group(facts)
    capture = Capture(facts.job.log(facts.rank), facts.job.log_index(facts.rank))
    info = os.pipe() if facts.run["namespaces"] else None
    argv = _argv(facts.run, place, info)
    node = Node(facts.rank, group.wrap(argv) if group else argv, facts.environment | place.variables, capture, info)
    node.group = group
    return node, place


def _argv(run: dict[str, Any], place: Place, info: tuple[int, int] | None) -> list[str]:
    if info is None:
        return list(run["runtime"])
    return _sandbox.wrap(run["namespaces"], run["runtime"], place, shared_memory=run["shared_memory"], info=info[1])


def _memory_group(facts: NodeFacts) -> _cgroups.MemoryGroup | None:
    limit = facts.run["memory"]
    if limit is None:
        return None
    parent = _cgroups.parent()
    if parent is None:
        return None
    path = parent / f"lyftlearn-{facts.job.path.name}-{facts.rank}"
    (facts.directory / "group").write_text(str(path))
    try:
        return _cgroups.MemoryGroup(path, limit)
    except OSError as error:
        raise CannotGoOn("platform", f"the memory limit cannot be set: {error}; {_cgroups.REMEDY}") from error


def _check_programs(run: dict[str, Any]) -> None:
    """They were there when the job was submitted."""
    python, bubblewrap = run["runtime"][0], run["namespaces"]
    if not os.access(python, os.X_OK):
        remedy = "submit the job again from an environment that stays"
        raise CannotGoOn("configuration", f"{python}, the Python that submitted the job, is gone: {remedy}")
    if bubblewrap and not os.access(bubblewrap, os.X_OK):
        raise CannotGoOn("configuration", f"{bubblewrap} is gone: {_sandbox.REMEDY}")
