"""Tar archives: the same bytes for the same content, and nothing outside the destination."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tarfile
import zlib

from .faults import configuration_failure
from .storage import disk_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import IO

    from .storage import Sink

LEVEL = 1
"""Of zlib: a machine is paid for while it packs, and models hardly shrink."""
GZIP = 31
"""zlib's window bits for a gzip stream; its header has no time and no name."""
EXECUTABLE, READABLE = 0o755, 0o644


class _Gzip:
    """What tarfile writes to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)

    def write(self, data: bytes) -> int:
        compressed = self._deflate.compress(data)
        if compressed:
            self._sink.write(compressed)
        return len(data)

    def finish(self) -> None:
        self._sink.write(self._deflate.flush())


def pack(directory: str, sink: Sink, without: Collection[str] = ()) -> None:
    """Write `directory`'s content as tar.gz: sorted, no times, no owners, none of the top-level entries `without`."""
    compressed = _Gzip(sink)
    top = os.path.realpath(directory)
    with tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path, name in _walk(top, "", ()):
            if name.split("/", 1)[0] not in without:
                _add(archive, top, path, name)
    compressed.finish()


def _walk(directory: str, prefix: str, inside: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every entry in order; a link that leads out of the tree to a directory is followed, once."""
    real = os.path.realpath(directory)
    if real in inside:
        return
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        yield path, prefix + name
        if os.path.isdir(path) and (not os.path.islink(path) or not _within(path, inside[0] if inside else real)):
            yield from _walk(path, f"{prefix}{name}/", (*inside, real))


def _within(path: str, top: str) -> bool:
    return os.path.realpath(path).startswith(top + os.sep)


def _add(archive: tarfile.TarFile, top: str, path: str, name: str) -> None:
    member = tarfile.TarInfo(name)
    if os.path.islink(path) and (_within(path, top) or not os.path.exists(path)):
        member.type, member.linkname = tarfile.SYMTYPE, _relative_target(path)
        archive.addfile(member)
        return
    status = os.stat(path)
    member.mode = stat.S_IMODE(status.st_mode) & 0o777
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
        with open(path, "rb") as file:
            archive.addfile(member, file)
    else:
        print(f"lyftlearn: {path} is neither file nor directory and is not kept", file=sys.stderr)


def _relative_target(path: str) -> str:
    if not os.path.exists(path):
        return os.readlink(path)
    return os.path.relpath(os.path.realpath(path), os.path.realpath(os.path.dirname(path)))


def unpack(path: str, destination: str, only: str | None = None, called: str | None = None) -> int:
    """Unpack into `destination`; how many members. `only` takes what is under that directory of the archive."""
    os.makedirs(destination, exist_ok=True)
    count = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                count += _take(archive, member, os.path.realpath(destination), only)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise configuration_failure(f"{called or path} is not a tar archive that can be read: {error}") from error
    except OSError as error:
        raise disk_failure(error, f"unpacking {called or path}") from error
    return count


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, destination: str, only: str | None) -> int:
    name = _inner(os.path.normpath(member.name), only)
    if name is None or name == ".":
        return 0
    target = os.path.join(destination, name)
    _refuse_escape(member, name, target, destination)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if member.isdir():
        os.makedirs(target, exist_ok=True)
    elif member.issym():
        _replace_link(member.linkname, target)
    elif member.islnk():
        _take_hard_link(archive, member, target, destination, only)
    elif member.isreg():
        _write(archive.extractfile(member), target, member.mode)
    return 1


def _inner(name: str, only: str | None) -> str | None:
    if only is None or name == only:
        return "." if name == only else name
    return name[len(only) + 1 :] if name.startswith(only + "/") else None


def _refuse_escape(member: tarfile.TarInfo, name: str, target: str, destination: str) -> None:
    """Names, the links on the way, and the targets of links must all stay inside."""
    parent = os.path.realpath(os.path.dirname(target))
    leads_to = os.path.join(parent, member.linkname) if member.issym() else target
    outside = (
        os.path.isabs(name) or not _inside(parent, destination) or not _inside(os.path.normpath(leads_to), destination)
    )
    special = not (member.isreg() or member.isdir() or member.issym() or member.islnk())
    if outside or special or name.split("/", 1)[0] == "..":
        raise configuration_failure(
            f"{archive_name(member)} would leave its destination, or is no file: the archive is refused"
        )


def archive_name(member: tarfile.TarInfo) -> str:
    """How messages name a member."""
    return f"archive member {member.name!r}" + (f" -> {member.linkname!r}" if member.linkname else "")


def _inside(path: str, top: str) -> bool:
    return path == top or path.startswith(top + os.sep)


def _replace_link(linkname: str, target: str) -> None:
    if os.path.islink(target):
        os.unlink(target)
    os.symlink(linkname, target)


def _take_hard_link(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str, top: str, only: str | None) -> None:
    """As a copy of the member it names, which stands in the same archive."""
    try:
        original = archive.getmember(member.linkname)
    except KeyError as error:
        raise configuration_failure(f"{archive_name(member)} names a member that is not there") from error
    if not original.isreg():
        raise configuration_failure(f"{archive_name(member)} names something that is not a file")
    del top, only
    _write(archive.extractfile(original), target, original.mode)


def _write(source: IO[bytes] | None, target: str, mode: int) -> None:
    if os.path.islink(target):
        os.unlink(target)
    with open(target, "wb") as file:
        if source is not None:
            shutil.copyfileobj(source, file, 1 << 20)
    os.chmod(target, EXECUTABLE if mode & stat.S_IXUSR else READABLE)
