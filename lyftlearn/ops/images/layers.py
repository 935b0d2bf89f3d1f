"""What is in an image, from the names in its layers."""

from __future__ import annotations

import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from lyftlearn.ops.images.facts import ImageContents

_GONE = ".wh."
_ALL_GONE = ".wh..wh..opq"
_BOTO3 = re.compile(r"/(?:site|dist)-packages/boto3/__init__\.py$")
_VERSION = re.compile(r"python(3)\.(\d+)$")
_LIBRARY = re.compile(r"(.*)/lib/python(3)\.(\d+)/os\.pyc?$")
_MOST_LINKS = 40
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class UnreadableLayers(Exception):
    """The layers are too large, or packed in a way that is not read here."""


def contents_of(layers: Iterable[tuple[str, IO[bytes]]], env: Sequence[str]) -> ImageContents:
    """Return what is in an image. layers: media type and content of each, its lowest first. env: `NAME=value`."""
    files: dict[str, str | None] = {}
    for media_type, stream in layers:
        try:
            _add_layer(files, media_type, stream)
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise UnreadableLayers(f"a layer is damaged: {error}") from error
    path = next((text.partition("=")[2] for text in env if text.startswith("PATH=")), _PATH)
    return ImageContents(
        python=_python(files, path.split(":")),
        has_boto3=any(_BOTO3.search(name) for name in files),
        has_shell=_resolve(files, "/bin/sh") is not None,
    )


def _add_layer(files: dict[str, str | None], media_type: str, stream: IO[bytes]) -> None:
    if media_type.endswith("zstd"):
        raise UnreadableLayers("its layers are packed with zstd; pull it, and ask again")
    mode = "r|gz" if "gzip" in media_type else "r|"
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for member in archive:
            name = posixpath.normpath(f"/{member.name}")
            directory, base = posixpath.split(name)
            if base == _ALL_GONE:
                _remove(files, directory)
            elif base.startswith(_GONE):
                _remove(files, posixpath.join(directory, base.removeprefix(_GONE)))
            elif not member.isdir():
                files[name] = member.linkname if member.issym() else None


def _remove(files: dict[str, str | None], path: str) -> None:
    for name in [name for name in files if name == path or name.startswith(f"{path.rstrip('/')}/")]:
        del files[name]


def _python(files: dict[str, str | None], directories: Iterable[str]) -> tuple[int, int] | None:
    """Return the version of the first `python3` on the path; (0, 0) where nothing tells it."""
    found = (_resolve(files, posixpath.join(directory, "python3")) for directory in directories if directory)
    program = next((path for path in found if path is not None), None)
    return next(_versions(files, program), (0, 0)) if program else None


def _versions(files: dict[str, str | None], program: str) -> Iterator[tuple[int, int]]:
    """Yield what its name says, and the library beside it."""
    if match := _VERSION.search(program):
        yield int(match[1]), int(match[2])
    prefix = posixpath.dirname(posixpath.dirname(program))
    for name in files:
        match = _LIBRARY.match(name)
        if match and match[1] == prefix:
            yield int(match[2]), int(match[3])


def _resolve(files: dict[str, str | None], path: str) -> str | None:
    """Return the file that a path leads to, through links, or None."""
    for _ in range(_MOST_LINKS):
        if files.get(path, "") is None:
            return path
        link = next((part for part in _parents(path) if files.get(part)), None)
        if link is None:
            return None
        target = posixpath.join(posixpath.dirname(link), str(files[link]))
        path = posixpath.normpath(target + path.removeprefix(link))
    return None


def _parents(path: str) -> Iterator[str]:
    """Yield the path and every directory above it, the highest first."""
    parts = path.split("/")
    yield from ("/".join(parts[:count]) for count in range(2, len(parts) + 1))
