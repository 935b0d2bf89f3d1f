"""`[mounts]`: file systems that jobs see by themselves, and how each backend mounts them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.mounts import EVERYTHING, Mount, plain_path
from lyftlearn._contract.options import FLAG, Kind, Option, display_value, read_options

_NAME = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
_REMEDY = 'write a table with a path, such as { path = "/data" }'
_PATH_PATTERN = r"^/[^/]"


def _absolute_path(value: Any) -> str:
    """Return a path as mounts have it. Raises ValueError for what is not the absolute path of a directory."""
    if not isinstance(value, str) or "\0" in value or not value.startswith("/") or plain_path(value) == EVERYTHING:
        raise ValueError
    if ".." in value.split("/"):
        raise ValueError
    return plain_path(value)


MOUNT = (
    Option(
        key="path",
        kind=Kind(
            'an absolute path such as "/data", which is not "/"',
            _absolute_path,
            {"type": "string", "pattern": _PATH_PATTERN},
        ),
        doc="Where call sites name the files, in paths and in `file://` URIs.",
        example="/data",
    ),
    Option(
        key="read_only",
        kind=FLAG,
        default=False,
        doc="Whether outputs may not be written there. Inputs are mounted read-only in any case.",
        example=True,
    ),
)
"""What `[mounts.<name>]` has beside the tables of the backends, which declare their own keys."""


def mounts_on(backend: str, mounts: Mapping[str, Mapping[str, Any]], folders: Mapping[str, Path]) -> tuple[Mount, ...]:
    """Return the mounts as `backend` sees them. folders: where the relative paths start of each mount's table."""
    made = []
    for name, entry in mounts.items():
        values, _ = read_options(name, _own(entry), MOUNT)
        folder = folders.get(name, Path())
        mount = Mount(
            name=name, path=values["path"], read_only=values["read_only"], table=entry.get(backend), folder=folder
        )
        made.append(mount)
    return tuple(made)


def mount_faults(where: str, mounts: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the tables `[mounts.<name>]` of one file. Backends judge their own."""
    for name, entry in mounts.items():
        if not isinstance(entry, Mapping):
            yield Fault(f"{where}.{name}", f"is {display_value(entry)}: {_REMEDY}")
            continue
        if not re.fullmatch(_NAME, name):
            problem = "is no name: write lower-case letters, digits and '-', at most 40, a letter or digit at both ends"
            yield Fault(f"{where}.{name}", problem)
        yield from read_options(f"{where}.{name}", _own(entry), MOUNT)[1]


def contradictions(mounts: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield what is wrong with all mounts together: one without a path, two with the same one."""
    paths: dict[str, str] = {}
    for name, entry in mounts.items():
        if "path" not in entry:
            yield Fault(f"mounts.{name}", f"has no path: {_REMEDY}")
            continue
        other = paths.setdefault(_absolute_path(entry["path"]), name)
        if other != name:
            yield Fault(
                f"mounts.{name}.path", f"is {entry['path']!r}, and so is that of {other}: give each mount its own"
            )


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if not isinstance(value, Mapping)}
