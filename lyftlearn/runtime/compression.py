"""One gzip stream that all processors compress. Its bytes follow from what is written, and not from who compresses it.

Each block ends at a byte (zlib's `Z_SYNC_FLUSH`), so blocks can follow each other. To every reader it is one member, as
`tarfile` needs it where it reads a pipe.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from .storage import Sink

LEVEL = 1
"""Of zlib: a machine is paid for while it packs, and models hardly shrink."""
RAW = -15
"""zlib's window bits for deflate without a header."""
BLOCK = 1 << 20
MOST_THREADS = 8
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
"""RFC 1952: deflate, no name, no time, the fastest algorithm, Unix."""


class Gzip:
    """What tarfile writes to. A few blocks are in memory, however much passes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self._held = self._size = self._checksum = 0
        self._threads = min(os.cpu_count() or 1, MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None
        self._blocks: deque[Future[bytes]] = deque()
        sink.write(HEADER)

    def write(self, data: bytes) -> int:
        """Take what comes next."""
        self._parts.append(data)
        self._held += len(data)
        if self._held >= BLOCK:
            self._compress(self._take_block())
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end."""
        last = self._take_block()
        self._write_blocks(0)
        self._sink.write(_deflate(last, zlib.Z_FINISH) + struct.pack("<LL", self._checksum, self._size & 0xFFFFFFFF))
        if self._pool is not None:
            self._pool.shutdown()

    def _take_block(self) -> bytes:
        block = b"".join(self._parts)
        self._parts, self._held = [], 0
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
            self._sink.write(self._blocks.popleft().result())


def _deflate(block: bytes, ending: int) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW)
    return deflate.compress(block) + deflate.flush(ending)
