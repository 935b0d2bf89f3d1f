"""File systems that jobs see by themselves: which of them holds a path, and what a path is called there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.options import Option, read_options
from lyftlearn.runtime.location import Location


class HasPath(Protocol):
    """What is mounted at a path."""

    @property
    def path(self) -> str:
        """Where people name its files, without a `/` at the end."""
        ...


_Mounted = TypeVar("_Mounted", bound=HasPath)
EVERYTHING = "/"
"""The scope of a backend whose jobs see this machine's own files."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One table `[mounts.<name>]`, as one backend sees it.

    path: where people name its files, without a `/` at the end. read_only: whether jobs may write there. table: how the
    backend mounts it, `[mounts.<name>.<backend>]`; None where nobody says. folder: where relative paths of that table
    start.
    """

    name: str
    path: str
    read_only: bool = False
    table: Mapping[str, Any] | None = None
    folder: Path = Path()


class MountTable(NamedTuple):
    """What `[mounts.<name>.<backend>]` says. where: its name, for faults. read_only: else as the mount itself says."""

    mount: Mount
    where: str
    values: Mapping[str, Any]
    read_only: bool
    faults: list[Fault]


def read_mount_tables(backend: str, mounts: Iterable[Mount], keys: Sequence[Option]) -> Iterator[MountTable]:
    """Yield the table that a backend has of each mount, by its `keys`, one of which is `read_only`."""
    for mount in mounts:
        where = f"mounts.{mount.name}.{backend}"
        values, faults = read_options(where, mount.table or {}, keys)
        read_only = mount.read_only if values["read_only"] is None else values["read_only"]
        yield MountTable(mount, where, values, read_only, faults)


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top`, or below it: by whole names, so that `/database` is not below `/data`."""
    return f"{plain_path(path)}/".startswith(f"{top.rstrip('/')}/")


def plain_path(path: str) -> str:
    """Return an absolute path without `.`, `..` and doubled slashes, by its letters alone: nobody looks at links."""
    return f"/{os.path.normpath(path).lstrip('/')}"


def path_of(uri: str) -> str | None:
    """Return the path that a `file://` URI names; None for any other."""
    try:
        location = Location.parse(uri)
    except ValueError:
        return None
    return location.path if location.is_file else None


def mount_of(mounts: Iterable[_Mounted], uri: str) -> _Mounted | None:
    """Return the mount that holds what is at `uri`, a path or a `file://` URI; of several, the one that is nearest."""
    every = tuple(mounts)
    path = path_of(uri) if every else None
    holding = [mount for mount in every if path is not None and is_below(path, mount.path)]
    return max(holding, key=lambda mount: len(mount.path), default=None)


def relative_path(top: str, uri: str) -> str:
    """Return what a URI names below `top`; with a `/` at the end where the URI has one, and empty for `top` itself."""
    path = path_of(uri) or top
    relative = plain_path(path)[len(top.rstrip("/")) :].strip("/")
    return f"{relative}/" if relative and path.endswith("/") else relative


def uri_in(directory: str, relative: str, uri: str) -> str:
    """Return the URI of `relative` below `directory`, and of the same output of an archive as `uri` means."""
    place = f"{directory.rstrip('/')}/{relative}" if relative else directory
    return Location("file", "", place, Location.parse(uri).member).uri
