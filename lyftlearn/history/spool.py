"""Rows that are not in the history yet: appended to a file, which costs a submission microseconds.

Each process appends to a file of its own and holds a lock on it, which the kernel lets go of when the process ends,
however it ends. A file without a holder is anybody's: whoever has time writes its rows into the history and removes it.
A row may be written twice without harm, so nobody has to know who else is about to write it. The line that a process
was writing when it died, or when the disk became full, is the last of its file, and is left out.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from lyftlearn._contract.private import make_private

Line: TypeAlias = Mapping[str, Any]
Entry: TypeAlias = tuple[Line, Line]
"""A line after the header of its file."""
_MOST_IN_MEMORY = 1000
_SECONDS_UNTIL_ABANDONED = 86_400
_encode = json.JSONEncoder(default=str).encode
_log = logging.getLogger("lyftlearn")


class Spool:
    """The files of one history on this machine. header: what all lines of this process have in common."""

    def __init__(self, home: Path, url: str, header: Callable[[], Line]) -> None:
        self._directory = home / "spool" / sha256(url.encode()).hexdigest()[:16]
        self._header = header
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = Path()
        self._in_memory: deque[str] = deque(maxlen=_MOST_IN_MEMORY)

    @property
    def is_empty(self) -> bool:
        """Whether this process has nothing that waits. Others may have."""
        return self._file is None and not self._in_memory

    def append(self, line: Line) -> None:
        """Keep a line until it is in the history: in this process' file, or in its memory where no file can be had."""
        text = _encode(line)
        with self._lock:
            if not self._write(text):
                self._in_memory.append(text)

    def take_up(self, write: Callable[[Iterator[Entry]], None]) -> None:
        """Give `write` all that waits, file by file, and remove what was written. `write` may raise: the rest waits on.

        What other living processes wait with is written, too, and left to them.
        """
        with self._lock:
            self._close()
            waiting = list(self._in_memory)
        if waiting:
            header = self._header()
            write((header, json.loads(text)) for text in waiting)
            with self._lock:
                for _ in waiting:
                    self._in_memory.popleft()
        for path in _paths(self._directory):
            with _open_file(path) as file:
                if file is not None:
                    is_free = _is_free(file)
                    write(_entries(file, path))
                    if is_free:
                        _remove(path)

    def release(self) -> bool:
        """Let other processes take up what waits. Return whether they can have all of it."""
        with self._lock:
            self._close()
            return not self._in_memory

    def begin_anew(self) -> None:
        """Leave everything to the parent of this forked process."""
        self._lock = threading.Lock()
        self._in_memory.clear()
        self._close()

    def _write(self, text: str) -> bool:
        data = text.encode(errors="backslashreplace") + b"\n"
        try:
            file = self._file if self._file is not None else self._open()
            if os.write(file, data) == len(data):
                return True
        except OSError as error:
            _log.info("a line of the history is kept in memory: %s", error)
        self._close()  # what was cut off is the last line of its file
        return False

    def _open(self) -> int:
        make_private(self._directory)
        name = f"{time.time_ns():020}-{os.urandom(4).hex()}"
        self._path = self._directory / f"{name}.jsonl"
        hidden = self._directory / f".{name}"
        file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = file
        with suppress(OSError):  # a file system without locks: then rows may be written twice
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(self._path)
        header = _encode(self._header()).encode(errors="backslashreplace") + b"\n"
        if os.write(file, header) != len(header):
            raise OSError("the disk is full")
        return file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self._close()


def _paths(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


@contextmanager
def _open_file(path: Path) -> Iterator[int | None]:
    """Open a file for reading; None where another process has removed it, or where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        _log.warning("what waits for the history in %s cannot be read: %s", path, error)
        yield None
        return
    try:
        yield file
    finally:
        os.close(file)


def _is_free(file: int) -> bool:
    """Whether no living process holds the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return time.time() - os.fstat(file).st_mtime > _SECONDS_UNTIL_ABANDONED
    return True


def _entries(file: int, path: Path) -> Iterator[Entry]:
    """Yield each line with the header; of what is damaged, nothing."""
    header: Line | None = None
    with os.fdopen(os.dup(file), "rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.endswith(b"\n"):
                return
            line = _read(text)
            if line is None:
                _log.warning("line %d of %s, which waits for the history, cannot be read", number, path)
            elif header is None:
                header = line
            else:
                yield header, line


def _read(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.info("%s cannot be removed: %s", path, error)
