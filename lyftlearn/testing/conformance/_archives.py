"""Files in the storage that a backend was given, and the archives that jobs read and leave."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from lyftlearn._storage import open_storage

_LARGEST = 1 << 30  # bytes of a file that a test put there itself


def write(uri: str, content: bytes) -> None:
    """Put `content` at `uri`, where nothing is."""
    parent, _, name = uri.rpartition("/")
    assert open_storage(parent).create(name, content), f"{uri} is taken"


def read(uri: str) -> bytes:
    """Return what is at `uri`. Raises FileNotFoundError where there is nothing."""
    parent, _, name = uri.rpartition("/")
    found = open_storage(parent).read(name, _LARGEST)
    if found is None:
        raise FileNotFoundError(uri)
    return found.data


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar of `files`, name to content."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def unpack(archive: bytes) -> dict[str, bytes]:
    """Return name to content of the regular files in a gzipped tar."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                files[member.name.removeprefix("./")] = content.read()
    return files
