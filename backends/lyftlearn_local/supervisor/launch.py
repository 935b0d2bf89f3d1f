"""From what was submitted to a running node."""

from __future__ import annotations

import json
import os

from lyftlearn_local import cgroups
from lyftlearn_local.layouts import LAYOUTS
from lyftlearn_local.layouts.layout import LaunchError
from lyftlearn_local.logs.capture import Capture
from lyftlearn_local.supervisor import sandbox
from lyftlearn_local.supervisor.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout, NodeContext
    from lyftlearn_local.store.files import JobFiles


def take_environment(job: JobFiles) -> dict[str, str]:
    """Read what the client handed over, credentials perhaps, and leave no copy of it on disk."""
    content: dict[str, str] = json.loads(job.environment_path.read_bytes())
    job.environment_path.unlink()
    return content


def launch(context: NodeContext) -> tuple[Node, ContainerLayout]:
    """Start a node."""
    _check_programs(context.run)
    context.directory.mkdir(parents=True)
    layout = LAYOUTS[context.run["layout"]](context)
    layout.report_progress(context.directory / "progress")
    group = _memory_group(context)
    capture = Capture(context.job.log(context.rank), context.job.log_index(context.rank))
    info = os.pipe() if context.run["namespaces"] else None
    argv = _argv(context.run, layout, info)
    node = Node(
        context.rank, group.wrap(argv) if group else argv, context.environment | layout.variables, capture, info
    )
    node.group = group
    return node, layout


def _argv(run: dict[str, Any], layout: ContainerLayout, info: tuple[int, int] | None) -> list[str]:
    if info is None:
        return list(run["runtime"])
    return sandbox.wrap(run["namespaces"], run["runtime"], layout, shared_memory=run["shared_memory"], info=info[1])


def _memory_group(context: NodeContext) -> cgroups.MemoryGroup | None:
    limit = context.run["memory"]
    if limit is None:
        return None
    parent = cgroups.parent()
    if parent is None:
        return None
    path = parent / f"lyftlearn-{context.job.path.name}-{context.rank}"
    (context.directory / "group").write_text(str(path))
    try:
        return cgroups.MemoryGroup(path, limit)
    except OSError as error:
        raise LaunchError("platform", f"the memory limit cannot be set: {error}; {cgroups.REMEDY}") from error


def _check_programs(run: dict[str, Any]) -> None:
    """They were there when the job was submitted."""
    python, bubblewrap = run["runtime"][0], run["namespaces"]
    if not os.access(python, os.X_OK):
        remedy = "submit the job again from an environment that stays"
        raise LaunchError("configuration", f"{python}, the Python that submitted the job, is gone: {remedy}")
    if bubblewrap and not os.access(bubblewrap, os.X_OK):
        raise LaunchError("configuration", f"{bubblewrap} is gone: {sandbox.REMEDY}")
