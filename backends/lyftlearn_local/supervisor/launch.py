"""From what was submitted to a running node."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lyftlearn_local import cgroups
from lyftlearn_local.layouts import LAYOUTS
from lyftlearn_local.layouts.layout import LaunchError
from lyftlearn_local.logs.capture import Capture
from lyftlearn_local.supervisor import sandbox
from lyftlearn_local.supervisor.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout, NodeContext
    from lyftlearn_local.store.files import JobFiles

STOP_VARIABLE = "LYFTLEARN_SUBSTRATE_STOP"
SHARED_GROUP_VARIABLE = "LYFTLEARN_SUBSTRATE_SHARED_GROUP"
"""Says that the node's control group is not its own: what the kernel kills there may be anybody's."""


def take_environment(job: JobFiles) -> dict[str, str]:
    """Read what the client handed over, credentials perhaps, and leave no copy of it on disk."""
    content: dict[str, str] = json.loads(job.environment_path.read_bytes())
    job.environment_path.unlink()
    return content


def launch(context: NodeContext) -> tuple[Node, ContainerLayout]:
    """Start a node."""
    _check_programs(context.run)
    context.directory.mkdir(parents=True)
    if context.container:
        return _launch_in_image(context)
    layout = _layout(context)
    _add_notebook_files(context, layout)
    group = _memory_group(context)
    if group is None:
        layout.variables[SHARED_GROUP_VARIABLE] = "1"
    capture = _capture(context)
    info = os.pipe() if context.run["namespaces"] else None
    argv = _argv(context, layout, info)
    argv = group.wrap(argv) if group else argv
    groups = () if layout.drops_groups else None
    node = Node(context.rank, argv, context.environment | layout.variables, capture, info, groups=groups)
    node.group = group
    return node, layout


def _add_notebook_files(context: NodeContext, layout: ContainerLayout) -> None:
    """Show the directory that a notebook keeps from run to run where the contract has it."""
    if "notebook_files" not in context.run:
        return
    files = Path(context.run["notebook_files"])
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    if context.run["namespaces"]:
        layout.bind(files, "/lyftlearn/notebook")
    else:
        root = context.directory / "lyftlearn"
        root.mkdir(exist_ok=True)
        (root / "notebook").symlink_to(files)


def _launch_in_image(context: NodeContext) -> tuple[Node, ContainerLayout]:
    from lyftlearn_local.supervisor.container_start import Start  # noqa: PLC0415 - other jobs start sooner without

    start = Start(context)
    start.prepare()
    layout = _layout(context)
    return start.node(layout, _capture(context)), layout


def _layout(context: NodeContext) -> ContainerLayout:
    layout = LAYOUTS[context.run["layout"]](context)
    layout.readonly += [(outside, inside) for inside, outside in context.run.get("mounts", {}).items()]
    progress = context.directory / "progress"
    layout.report_progress(progress, context.inside(progress))
    layout.variables[STOP_VARIABLE] = context.inside(context.job.stop_path)
    return layout


def _capture(context: NodeContext) -> Capture:
    return Capture(context.job.log(context.rank), context.job.log_index(context.rank))


def _argv(context: NodeContext, layout: ContainerLayout, info: tuple[int, int] | None) -> list[str]:
    if info is None:
        return list(context.run["runtime"])
    paths = [context.job.path, *named_paths(json.loads((context.job.path / "bundle.json").read_bytes()))]
    return sandbox.wrap(context.run, context.run["runtime"], layout, paths=paths, info=info[1])


def named_paths(document: Any) -> Iterator[Path]:
    """Every path below `/run` that a bundle names, as a path or as a `file://` URI."""
    if isinstance(document, str) and "/run/" in document and document.startswith(("/", "file://")):
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - hardly any job needs it

        yield Path(unquote(urlsplit(document).path) if document.startswith("file://") else document)
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from named_paths(part)


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
    if run.get("container"):
        return  # the image has its own
    if not os.access(python, os.X_OK):
        remedy = "submit the job again from an environment that stays"
        raise LaunchError("configuration", f"{python}, the Python that submitted the job, is gone: {remedy}")
    if bubblewrap and not os.access(bubblewrap, os.X_OK):
        raise LaunchError("configuration", f"{bubblewrap} is gone: {sandbox.REMEDY}")
