"""In which files two packed sources differ, for a person who wonders why they are not the same."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lyftlearn._transfer.download import fetch_archive
from lyftlearn._transfer.ignoring import IGNORE_FILE
from lyftlearn._transfer.packing import source_key
from lyftlearn._transfer.tree import printable
from lyftlearn.config.layers import FILE
from lyftlearn.runtime.location import Location

if TYPE_CHECKING:
    from lyftlearn._storage import Storage
    from lyftlearn._transfer.packing import Packed

_SHOWN = 10


def source_differences(storage: Storage, before: str, now: Packed) -> str | None:
    """Say in which files a source differs from one that is kept, whose SHA-256 is `before`.

    None if that one is not kept any more. Empty if no file differs. Raises what reading an archive raises.
    """
    with TemporaryDirectory() as directory:
        location = Location.parse(storage.uri(source_key(before)))
        archive = fetch_archive(location, Path(directory, "archive.tar.gz"))
        if archive is None:
            return None
        differences = list(_differences(_members(archive), _members(now.path)))
        return _shorten(differences) + _advice(differences)


def _differences(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            yield f"{printable(name)} is gone"
        elif name not in before:
            yield f"{printable(name)} is new"
        elif before[name] != now[name]:
            yield f"{printable(name)} has changed"


def _shorten(differences: list[str]) -> str:
    more = [f"and {len(differences) - _SHOWN} more"] if len(differences) > _SHOWN else []
    return ", ".join([*differences[:_SHOWN], *more])


def _advice(differences: list[str]) -> str:
    """Say what to do where it is the configuration that somebody edited, such as to move models."""
    edited = any(text.startswith(f"{FILE} ") for text in differences)
    return f" (if the job does not read {FILE}, name it in {IGNORE_FILE})" if edited else ""


def _members(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {member.name: _content(tar, member) for member in tar}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        return f"{member.type!r} {member.linkname}"
    digest = sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return f"{member.mode} {digest.hexdigest()}"
