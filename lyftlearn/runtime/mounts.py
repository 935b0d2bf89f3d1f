"""File systems that the substrate mounted: inputs become links to what is there, outputs are looked at early."""

from __future__ import annotations

import os

from .faults import configuration_failure
from .storage import FILES, local_path, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .bundle import Bundle

LINKED = "linked"


def link_channel(entry: dict[str, Any], directory: str) -> bool:
    """Make the channel's directory a link to one on a file system, or hold a link to a file; whether anything is there.

    Nothing is copied: the file system may hold more than this machine. Raises RuntimeFailure where a link or `..` leads
    out of the file system: every substrate has something else there.
    """
    path = entry["path"]
    faults = _ways_out(path, entry["within"], entry.get("uri") or path)
    if faults:
        raise configuration_failure(*faults)
    if os.path.isfile(path):
        os.makedirs(directory, exist_ok=True)
        _link(path, os.path.join(directory, os.path.basename(path)))
        return True
    if not os.path.isdir(path):
        return False
    if os.path.isdir(directory) and not os.path.islink(directory):
        os.rmdir(directory)
    _link(path.rstrip("/"), directory)
    return True


def check_outputs(bundle: Bundle) -> None:
    """Refuse, before the command starts, an output whose file system cannot be written to. Every fault at once."""
    faults = [
        fault
        for name, entry in bundle["outputs"].items()
        if entry.get("uri") and entry.get("within")
        for fault in _output_faults(name, local_path(entry["uri"]), os.environ.get(FILES, "") + entry["within"])
    ]
    if faults:
        raise configuration_failure(*faults)


def _output_faults(name: str, path: str, within: str) -> list[str]:
    faults = _ways_out(path, within, f"outputs.{name}")
    if faults:
        return faults
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    shown = f"outputs.{name}: {shown_path(there)}"
    if not os.path.isdir(there):
        return [f"{shown} is not a directory: write to another place"]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"{shown} may not be written to: change its permissions, or write to another place"]
    return []


def _ways_out(path: str, top: str, called: str) -> list[str]:
    """Say so where `path` is not below `top` once every link is followed. called: what a person calls it."""
    real, real_top = os.path.realpath(path), os.path.realpath(top)
    if (real + "/").startswith(real_top.rstrip("/") + "/"):
        return []
    problem = f"leads out of its mount, to {shown_path(real)}"
    return [f"{called} {problem}: name a place below the mount, and no link away from it"]


def _link(target: str, path: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(target, path)
