"""The output of one node on its way to disk: exact bytes, and beside them when they came."""

from __future__ import annotations

import errno
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 65536
ENTRY_BYTES = 16
_LAST_BYTES = 700
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class Capture:
    """Appends what it is given to a log, and the time to its index; never holds more than one chunk."""

    def __init__(self, log: Path, index: Path) -> None:
        self._path = log
        self._index = os.open(index, _APPEND, 0o600)
        self._log = os.open(log, _APPEND, 0o600)
        self._offset = os.fstat(self._log).st_size
        self._latest = 0

    def write(self, data: bytes) -> None:
        """Keep `data`. The index goes first, so that a reader finds a time for every byte of the log."""
        self._latest = max(self._latest, time.time_ns())
        self._offset += len(data)
        _write_all(self._index, entry(self._offset, self._latest))
        _write_all(self._log, data)

    def last_words(self) -> str:
        """The end of what was kept."""
        with self._path.open("rb") as file:
            file.seek(max(0, self._offset - _LAST_BYTES))
            return file.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Release the files."""
        os.close(self._index)
        os.close(self._log)


def entry(end: int, nanoseconds: int) -> bytes:
    """One entry of an index: the bytes before offset `end` had come by then."""
    return end.to_bytes(8, "little") + nanoseconds.to_bytes(8, "little")


def _write_all(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
