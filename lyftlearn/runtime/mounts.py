"""File systems that the substrate mounted: inputs become links to what is there, outputs are looked at early."""

from __future__ import annotations

import os
import stat

from .faults import configuration_failure
from .storage import FILES, local_path, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
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


def check_outputs(bundle: Bundle, rank: int) -> None:
    """Refuse, before the command starts, places that what it leaves cannot be written to. Every fault at once."""
    faults = [fault for called, uri, within in _places(bundle, rank) for fault in _output_faults(called, uri, within)]
    if faults:
        raise configuration_failure(*faults)


def _places(bundle: Bundle, rank: int) -> Iterator[tuple[str, str, str | None]]:
    """What must be written: how it is called, its URI, and the mount that it is within.

    Checkpoints need not be: a job may go on from some that are another's.
    """
    for name, entry in bundle["outputs"].items():
        if entry.get("uri") and (entry.get("within") or rank == 0):
            yield f"outputs.{name}", entry["uri"], entry.get("within")
    packs = bundle["model"] or not all(entry.get("uri") for entry in bundle["outputs"].values())
    if rank == 0 and packs and bundle["pack"] == "runtime":
        yield "the model and the outputs", bundle["output_uri"], None


def _output_faults(called: str, uri: str, within: str | None) -> list[str]:
    if not uri.startswith(("file://", "/")):
        return []
    path = local_path(uri)
    faults = _ways_out(path, os.environ.get(FILES, "") + within, called) if within else []
    if faults:
        return faults
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    shown = f"{called}: {shown_path(there)}"
    if not os.path.isdir(there):
        return [f"{shown} is not a directory: write to another place"]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"{shown} may not be written to{_whose(there)}: change its permissions, or write to another place"]
    return []


def _whose(path: str) -> str:
    status = os.stat(path)
    groups = ", ".join(str(group) for group in sorted({os.getegid(), *os.getgroups()}))
    owner = f"it belongs to user {status.st_uid} and group {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"
    return f" by user {os.geteuid()} of group {groups} ({owner})"


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
