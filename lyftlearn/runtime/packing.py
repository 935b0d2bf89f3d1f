"""Tar archives of what a job keeps: the same bytes for the same content.

They are the bytes that `tarfile` writes. To import that would be a third of what the runtime does for a short job, so
it only writes the headers that have more than one block.
"""

from __future__ import annotations

import os
import stat

from .compression import Gzip
from .storage import store_for
from .tree import DIRECTORY, FILE, LINK, Tree, WholeFile, make_readable, warn_on_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .storage import Sink
    from .tree import Entry, Warn

CHUNK = 1 << 20
BLOCK = 512
RECORD = 20 * BLOCK
"""What a tape took at once; an archive is filled up to the next."""
_KINDS = {DIRECTORY: "5", FILE: "0", LINK: "2"}
_LONGEST, _LARGEST = 100, 8**11 - 1
"""A name, and a size, that one block holds."""
_NOBODY, _NO_TIME = "0000000\0" * 2, "00000000000\0"


def pack(
    directory: str, sink: Sink, without: Collection[str] = (), apart: bool = False, warn: Warn = warn_on_stderr
) -> None:
    """Write `directory`'s content as tar.gz: sorted, no times, no owners, none of the top-level entries `without`.

    Links that stay inside are kept as relative links; `Tree` says what becomes of others, and what `apart` means.
    """
    compressed = Gzip(sink)
    archive = Archive(compressed)
    for entry in Tree(directory, True, apart, tuple(without), warn).entries():
        archive.add(entry, warn)
    archive.finish()
    compressed.finish()


def pack_to(
    uri: str, directory: str, without: Collection[str] = (), apart: bool = False, *, only_new: bool = False
) -> None:
    """Write what `pack` writes to a URI, whole or not at all. only_new: leave an object that is there already."""
    sink = store_for(uri).sink(uri)
    try:
        pack(directory, sink, without, apart)
        sink.commit(only_new=only_new)
    except BaseException:
        sink.abort()
        raise


class Archive:
    """A tar archive that is being written."""

    def __init__(self, output: Gzip) -> None:
        self._output = output
        self._size = 0

    def add(self, entry: Entry, warn: Warn) -> None:
        """Add one entry. What a command has left running may still remove it, or cut it."""
        if entry.kind == LINK:
            self._write(header(entry, 0o644, 0))
            return
        try:
            mode = stat.S_IMODE(os.stat(entry.path).st_mode) & 0o777
            file = None if entry.kind == DIRECTORY else open(make_readable(entry.path), "rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            warn(f"{entry.path} is not kept: it is gone")
            return
        if file is None:
            self._write(header(entry, mode, 0))
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            self._write(header(entry, mode, size))
            self._copy(WholeFile(file, entry.path, warn), size)

    def _copy(self, file: WholeFile, size: int) -> None:
        for start in range(0, size, CHUNK):
            self._write(file.read(min(CHUNK, size - start)))
        self._fill(BLOCK)

    def _write(self, data: bytes) -> None:
        self._size += self._output.write(data)

    def _fill(self, unit: int) -> None:
        self._write(bytes(-self._size % unit))

    def finish(self) -> None:
        """Write the end: two empty blocks, at the end of a record."""
        self._write(bytes(2 * BLOCK))
        self._fill(RECORD)


def header(entry: Entry, mode: int, size: int) -> bytes:
    """What `tarfile` writes, in the format of PAX, of an entry without times and owners."""
    name, target = entry.name + "/" * (entry.kind == DIRECTORY), entry.target
    if size > _LARGEST or max(len(name), len(target)) > _LONGEST or not (name + target).isascii():
        return _long_header(entry, mode, size)
    fields = (name.ljust(100, "\0"), f"{mode:07o}\0", _NOBODY, f"{size:011o}\0", _NO_TIME, " " * 8)
    text = "".join((*fields, _KINDS[entry.kind], target.ljust(100, "\0"), "ustar\x0000"))
    block = text.encode("ascii").ljust(BLOCK, b"\0")
    return b"%b%06o\0%b" % (block[:148], sum(block), block[155:])


def _long_header(entry: Entry, mode: int, size: int) -> bytes:
    import tarfile

    member = tarfile.TarInfo(entry.name)
    member.type, member.mode, member.size, member.linkname = _KINDS[entry.kind].encode(), mode, size, entry.target
    return member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
