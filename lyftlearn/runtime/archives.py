"""Tar archives, unpacked: nothing outside the destination.

What `packing` writes, `unpack` takes. It serves whoever holds an archive from elsewhere, too: it resolves names itself,
component by component, and trusts neither the archive nor the running Python's `tarfile` filters.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zlib
from contextlib import closing, contextmanager
from functools import partial

from .compression import Gunzip
from .faults import CONFIGURATION, RuntimeFailure
from .storage import disk_failure
from .tree import LONGEST_NAME, MOST_DEEP, is_too_deep, is_too_long, warn_on_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tree import Warn

EXECUTABLE, READABLE = 0o755, 0o644
OWNER, NO_WRITE_FOR_OTHERS = 0o600, 0o755
MOST_LINKS = 40
"""Links on the way to a target, as in the kernel."""
CHUNK = 1 << 20
LONGEST_SHOWN = 255
"""Characters of a member's name in a message."""


class BadArchive(RuntimeFailure):
    """The archive cannot be read, or has what no archive may have. The disk has nothing to do with it."""

    def __init__(self, message: str) -> None:
        super().__init__(CONFIGURATION, message)


def unpack(
    path: str,
    destination: str,
    only: str | None = None,
    called: str | None = None,
    *,
    keep_modes: bool = False,
    warn: Warn = warn_on_stderr,
) -> int:
    """Unpack into `destination`, a directory; return the number of members.

    only: take what is under that directory of the archive. called: its name in messages. keep_modes: keep the modes of
    files, but for what others may write; else everyone may read. A link that leads out is left out with a warning.
    Raises BadArchive if it cannot be read, or a member would leave the destination or is no file, and RuntimeFailure if
    the disk does not take it.
    """
    os.makedirs(destination, exist_ok=True)
    unpacking = _Unpacking(os.path.realpath(destination), only, keep_modes, warn)
    try:
        with _open_archive(path) as archive:
            for member in members_of(archive):
                unpacking.take(archive, member)
        unpacking.make_links()
    except OSError as error:
        if error.errno is None:  # of a decompressor, not of the disk
            raise _unreadable(called or path, path, error) from error
        raise disk_failure(error, f"unpacking {called or path}") from error
    except RuntimeFailure:
        raise
    except Exception as error:  # decompressors and broken headers raise what they like
        raise _unreadable(called or path, path, error) from error
    return unpacking.count


@contextmanager
def _open_archive(path: str) -> Iterator[tarfile.TarFile]:
    with open(path, "rb") as file, closing(Gunzip(file)) as stream:
        try:
            archive = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        except (tarfile.ReadError, zlib.error, EOFError):  # not by gzip, or broken: `open` says what else it tried
            archive = tarfile.open(path)  # noqa: SIM115 - closed below
        with archive:
            yield archive


def members_of(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, each once. Raises BadArchive for one that leads back: `tarfile` would read in circles for ever.

    Those Pythons do that are older than the mend of CVE-2025-8194. Later ones end there, as at any damaged header.
    """
    archive.tarinfo = _Header
    position = -1
    for member in archive:
        if member.size < 0 or member.offset <= position:
            raise _refusal(member, "has an impossible size")
        position = member.offset
        yield member


_DAMAGE = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]
_PLAIN = re.compile(
    rb"(.{100})([0-7]{7})\0.{16}([0-7]{11})\0.{12}([0-7]{6})\0 ([05]).{100}ustar\x0000.{80}(.{155}).{12}", re.DOTALL
)
"""POSIX's header of a file or directory, as most programs write it: name, mode, size, checksum, type, prefix."""
_CHECKSUM = slice(148, 156)
_BLANK = 8 * ord(" ")
"""What the checksum's own bytes count as."""


class _Header(tarfile.TarInfo):
    """A header that `tarfile` must be able to read: for it, what stands behind a damaged one was never there."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Header:
        """Read the next one. Raises BadArchive."""
        start = tarfile.fileobj.tell()
        member = cls._plain(tarfile, start)
        if member:
            return member
        tarfile.fileobj.seek(start)
        try:
            return super().fromtarfile(tarfile)
        except _DAMAGE as error:
            raise BadArchive(f"a header of the archive is damaged: {error}") from error

    @classmethod
    def _plain(cls, archive: tarfile.TarFile, start: int) -> _Header | None:
        """Read what most headers are like in a fraction of the time that `tarfile` takes; None for another one."""
        block = archive.fileobj.read(tarfile.BLOCKSIZE)
        found = _PLAIN.fullmatch(block)
        if not found or archive.pax_headers or int(found[4], 8) != sum(block) - sum(block[_CHECKSUM]) + _BLANK:
            return None
        name, prefix = (text.partition(b"\0")[0].decode(archive.encoding, archive.errors) for text in found.group(1, 6))
        member = cls(f"{prefix}/{name}" if prefix else name)
        member.mode, member.size, member.type = int(found[2], 8), int(found[3], 8), found[5]
        member.offset, member.offset_data = start, start + tarfile.BLOCKSIZE
        archive.offset = member.offset_data
        if member.isdir():
            member.name = member.name.rstrip("/")
        else:
            archive.offset += -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return member


def _unreadable(name: str, path: str, error: Exception) -> BadArchive:
    return BadArchive(f"{name} is not a tar archive that can be read: {why_unreadable(path, error)}")


def why_unreadable(path: str, error: Exception) -> str:
    """In one line: `tarfile` says in several what each of its ways to open a file met."""
    size = os.path.getsize(path)
    if "\n" not in str(error):
        return str(error)
    return f"its {size} bytes are no tar, nor one packed with gzip, bzip2 or xz" if size else "it is empty"


class _Unpacking:
    """One archive on its way into a directory. Links are made last: nothing is ever written through one."""

    def __init__(self, destination: str, only: str | None, keep_modes: bool, warn: Warn) -> None:
        self.count = 0
        self._destination = destination
        self._only = only
        self._keep_modes = keep_modes
        self._warn = warn
        self._links: dict[tuple[str, ...], str] = {}
        self._directories: set[tuple[str, ...]] = {()}  # that were looked at: nobody else writes there meanwhile

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write one member, or remember it, if it is a link."""
        parts = self._inner_parts(member)
        if parts is None:
            return
        self.count += 1
        if not parts:  # the destination itself
            return
        if self._links and any(parts[:length] in self._links for length in range(1, len(parts))):
            raise _refusal(member, "goes through a link")
        if member.issym():
            self._links[parts] = member.linkname
        elif member.isdir():
            self._links.pop(parts, None)
            self._make_directory(parts, member)
        elif member.isreg() or member.islnk():
            self._links.pop(parts, None)
            self._take_file(archive, member, parts)
        else:
            raise _refusal(member, "is neither file, directory nor link")

    def _inner_parts(self, member: tarfile.TarInfo) -> tuple[str, ...] | None:
        """The member's name below the destination; None for what is not to be unpacked."""
        parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
        if member.name.startswith("/") or ".." in parts or "\0" in member.name:
            raise _refusal(member, "would leave its destination")
        if is_too_deep("/".join(parts)):
            raise _refusal(member, f"lies below {MOST_DEEP} directories")
        if is_too_long(parts):
            raise _refusal(member, f"has more than the {LONGEST_NAME} bytes of a file's name")
        if self._only is None:
            return parts
        return parts[1:] if parts[:1] == (self._only,) else None

    def _make_directory(self, parts: tuple[str, ...], member: tarfile.TarInfo) -> None:
        if parts in self._directories:
            return
        self._make_directory(parts[:-1], member)
        path = os.path.join(self._destination, *parts)
        try:
            os.mkdir(path)
        except FileExistsError as error:
            if os.path.islink(path):
                raise _refusal(member, "goes through a link") from error
            if not os.path.isdir(path):
                raise _refusal(member, "goes through a file") from error
        self._directories.add(parts)

    def _take_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...]) -> None:
        original = _original(archive, member)
        if original.issym():  # a second name of a link
            self._links[parts] = original.linkname
            return
        self._make_directory(parts[:-1], member)
        target, mode = "/".join((self._destination, *parts)), self._mode(original.mode)
        try:
            _write(_content(archive, original), target, mode)
        except FileExistsError:  # seldom: most are unpacked into nothing
            _write(_content(archive, original), self._free(parts, member), mode)

    def _free(self, parts: tuple[str, ...], member: tarfile.TarInfo) -> str:
        """The member's path, after what stood there has gone."""
        path = os.path.join(self._destination, *parts)
        if os.path.isdir(path) and not os.path.islink(path):
            raise _refusal(member, "has the name of a directory")
        if os.path.lexists(path):
            os.unlink(path)
        return path

    def _mode(self, mode: int) -> int:
        if self._keep_modes:
            return (mode & NO_WRITE_FOR_OTHERS) | OWNER
        return EXECUTABLE if mode & stat.S_IXUSR else READABLE

    def make_links(self) -> None:
        """Make the links that stay inside, now that everything else is there."""
        for parts, linkname in self._links.items():
            member = tarfile.TarInfo("/".join(parts))
            member.linkname = linkname
            if self._leads_inside(parts, linkname):
                self._make_directory(parts[:-1], member)
                os.symlink(linkname, self._free(parts, member))
            else:
                self.count -= 1
                self._warn(f"{_member_name(member)} leads out of the archive and is left out")

    def _leads_inside(self, parts: tuple[str, ...], linkname: str) -> bool:
        """Follow the link as the kernel would, through links that are still to be made."""
        here, ahead, links = list(parts[:-1]), _components(linkname), 1
        if not linkname or linkname.startswith("/") or "\0" in linkname:
            return False
        while ahead:
            part = ahead.pop(0)
            if part == "..":
                if not here:
                    return False
                here.pop()
                continue
            here.append(part)
            target = self._target(here)
            if target is not None:
                links += 1
                if links > MOST_LINKS or target.startswith("/"):
                    return False
                here.pop()
                ahead = _components(target) + ahead
        return True

    def _target(self, parts: list[str]) -> str | None:
        target = self._links.get(tuple(parts))
        if target is not None:
            return target
        path = os.path.join(self._destination, *parts)
        return os.readlink(path) if os.path.islink(path) else None


def _components(target: str) -> list[str]:
    return [part for part in target.split("/") if part not in ("", ".")]


def _original(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member itself, or the one that a hard link names, which stands before it in the same archive."""
    seen: set[str] = set()
    while member.islnk():
        if member.linkname in seen:
            raise _refusal(member, "names itself")
        seen.add(member.linkname)
        member = _named_member(archive, member)
    if not (member.isreg() or member.issym()):
        raise _refusal(member, "is not a file")
    return member


def _named_member(archive: tarfile.TarFile, link: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member that a hard link names; another packer than ours may write `./a` for the one and `a` for the other."""
    try:
        return archive.getmember(link.linkname)
    except KeyError as error:
        wanted = _components(link.linkname)
        for member in archive.getmembers():
            if _components(member.name) == wanted and not link.linkname.startswith("/"):
                return member
        raise _refusal(link, "names a member that is not there") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    """The member's bytes in pieces, without the three layers of files through which `tarfile` reads them."""
    if member.sparse is not None:
        yield from iter(partial(archive.extractfile(member).read, CHUNK), b"")  # type: ignore[union-attr]
        return
    archive.fileobj.seek(member.offset_data)
    left = member.size
    while left:
        data = archive.fileobj.read(min(left, CHUNK))
        if not data:
            raise tarfile.ReadError("it ends in the middle")
        left -= len(data)
        yield data


def _write(content: Iterator[bytes], target: str, mode: int) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, OWNER)
    try:
        for data in content:
            written = os.write(descriptor, data)
            while written < len(data):  # the disk is nearly full
                written += os.write(descriptor, data[written:])
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _refusal(member: tarfile.TarInfo, why: str) -> BadArchive:
    return BadArchive(f"{_member_name(member)} {why}: the archive is refused")


def _member_name(member: tarfile.TarInfo) -> str:
    name = member.name if len(member.name) <= LONGEST_SHOWN else f"{member.name[:LONGEST_SHOWN]}..."
    return f"archive member {name!r}" + (f" -> {member.linkname!r}" if member.linkname else "")
