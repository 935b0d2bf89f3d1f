"""gzip: one stream that all processors compress, and any that is inflated while what came before it is used.

The bytes follow from what is written, and not from who compresses it. Each block ends at a byte (zlib's
`Z_SYNC_FLUSH`), so blocks can follow each other. To every reader it is one member, as `tarfile` needs it where it reads
a pipe.
"""

from __future__ import annotations

import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import IO

    from .storage import Sink

LEVEL = 1
"""Of zlib: a machine is paid for while it packs, and models hardly shrink."""
RAW = -15
"""zlib's window bits for deflate without a header."""
BLOCK = 103 * 10240
"""Bytes that are compressed at once: about a mebibyte, in records of `tar`."""
MOST_THREADS = 8
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
"""RFC 1952: deflate, no name, no time, the fastest algorithm, Unix."""
WITH_HEADER = 31
"""zlib's window bits for gzip: it compares the checksum, too."""
READ = 1 << 17
"""Bytes that are inflated at once. `gzip` takes 8 KiB before Python 3.12."""


class Gzip:
    """What an archive is written to. A few blocks are in memory, however much passes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self._held = self._size = self._checksum = 0
        self._threads = min(os.cpu_count() or 1, MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None
        self._blocks: list[Future[bytes]] = []
        sink.write(HEADER)

    def write(self, data: bytes) -> int:
        """Take what comes next."""
        self._parts.append(data)
        self._held += len(data)
        while self._held >= BLOCK:
            self._compress(self._take_block())
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end."""
        last = self._take_block()
        self._write_blocks(0)
        numbers = (self._checksum, self._size & 0xFFFFFFFF)
        self._sink.write(_deflate(last, zlib.Z_FINISH) + b"".join(number.to_bytes(4, "little") for number in numbers))
        if self._pool is not None:
            self._pool.shutdown()

    def _take_block(self) -> bytes:
        held = b"".join(self._parts)
        block, rest = held[:BLOCK], held[BLOCK:]
        self._parts, self._held = [rest], len(rest)
        self._checksum = zlib.crc32(block, self._checksum)
        self._size += len(block)
        return block

    def _compress(self, block: bytes) -> None:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._threads)
        self._blocks.append(self._pool.submit(_deflate, block, zlib.Z_SYNC_FLUSH))
        self._write_blocks(self._threads)

    def _write_blocks(self, most: int) -> None:
        while len(self._blocks) > most:
            self._sink.write(self._blocks.pop(0).result())


def _deflate(block: bytes, ending: int) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW)
    return deflate.compress(block) + deflate.flush(ending)


class Gunzip:
    """What tarfile reads from. A thread is a block ahead of it; to go back is to begin anew, and seldom needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: Future[bytes] | None = None
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self._blocks = _inflate(self._file)
        self._block, self._start, self._at = b"", 0, 0

    def tell(self) -> int:
        """How many bytes come before the next one."""
        return self._start + self._at

    def seek(self, position: int) -> int:
        """Go there, or to the end where that comes before. Raises as `read` does."""
        if position < self._start:
            self._take_ahead()
            self._begin()
        while position > self._start + len(self._block) and self._next_block():
            pass
        self._at = min(position - self._start, len(self._block))
        return self.tell()

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end. Raises zlib.error, or EOFError where the stream is cut."""
        data = self._block[self._at : self._at + size]
        self._at += len(data)
        if len(data) == size:
            return data
        parts = [data]
        while size > len(data) and self._next_block():
            size -= len(data)
            data = self._block[:size]
            self._at = len(data)
            parts.append(data)
        return b"".join(parts)

    def _next_block(self) -> bool:
        block = self._take_ahead() if self._ahead else next(self._blocks, b"")
        self._start, self._at = self._start + len(self._block), 0
        self._block = block
        if self._start and block:  # most sources are one block, and a thread costs more
            self._read_ahead()
        return bool(block)

    def _take_ahead(self) -> bytes:
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead else b""

    def _read_ahead(self) -> None:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1)
        self._ahead = self._pool.submit(next, self._blocks, b"")

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown()


def _inflate(file: IO[bytes]) -> Iterator[bytes]:
    """What the file's members hold, one behind the other, in blocks that are not empty. Zeros may follow a member."""
    inflate, data = zlib.decompressobj(WITH_HEADER), file.read(READ)
    while True:
        block = inflate.decompress(data, BLOCK)
        if block:
            yield block
        elif not data:
            raise EOFError("the compressed file ends in the middle")
        if not inflate.eof:
            data = inflate.unconsumed_tail or file.read(READ)
            continue
        data = inflate.unused_data.lstrip(b"\0") or file.read(READ).lstrip(b"\0")
        if not data:
            return
        inflate = zlib.decompressobj(WITH_HEADER)
