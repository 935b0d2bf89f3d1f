"""Lines out of a node's log and its index, while it grows or after."""

from __future__ import annotations

import heapq
import os
import stat
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn.backend import LONGEST_LINE, LogLine, LogQuery, kept_logs
from lyftlearn_local.logs.capture import ENTRY_BYTES
from lyftlearn_local.store.records import BrokenLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lyftlearn.backend import Storage
    from lyftlearn_local.store.files import JobFiles

_BLOCK = 1 << 18
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


def read(files: JobFiles, query: LogQuery, finished: Callable[[], bool]) -> Iterator[LogLine]:
    """Yield the lines asked for; with `follow` until `finished` and the last one was given. Raises BrokenLog."""
    nodes = range(files.record()["run"]["nodes"]) if query.node is None else (query.node,)
    restore = _RESTORE.get(files.record()["run"]["layout"], str)
    readers = [NodeLog(files.log(node), files.log_index(node), node, query, restore) for node in nodes]
    pause = _SHORTEST_PAUSE
    while True:
        last_round = not query.follow or finished()
        given = False
        for line in heapq.merge(*(reader.lines(to_the_end=last_round) for reader in readers), key=lambda line: line.at):
            given = True
            yield line
        if last_round:
            return
        pause = _SHORTEST_PAUSE if given else min(pause * 2, _LONGEST_PAUSE)
        time.sleep(pause)


def keep(storage: Storage, files: JobFiles) -> None:
    """Put what every node printed into the storage, where it is found when the job is gone."""
    for node in range(files.record()["run"]["nodes"]):
        lines = read(files, LogQuery(node=node), lambda: True)
        kept_logs.keep(storage, files.path.name, node, ((line.at, line.text) for line in lines))


def without_carrier_space(text: str) -> str:
    """Return a line without the space by which the runtime carries blank ones where SageMaker's log is to take them."""
    return text if text.strip(" ") else text[1:]


def as_a_node_keeps_it(text: str) -> str:
    """Return a line without the carriage return at its end, which containerd takes for a part of the line's end."""
    return text.removesuffix("\r")


_RESTORE = {"local-sagemaker": without_carrier_space, "local-kubernetes": as_a_node_keeps_it}


class NodeLog:
    """A position in one node's log. It need not exist yet."""

    def __init__(self, log: Path, index: Path, node: int, query: LogQuery, restore: Callable[[str], str] = str) -> None:
        self._restore = restore
        self._log = log
        self._index = Index(index, log)
        self._node = node
        self._query = query
        self._offset: int | None = None

    def lines(self, *, to_the_end: bool) -> Iterator[LogLine]:
        """Yield the whole lines that have come since the last call; `to_the_end` an unfinished last one too."""
        with _descriptor_of(self._log) as file:
            if file is None:
                return
            if self._offset is None:
                self._offset = self._beginning(file)
            yield from self._lines(file, to_the_end=to_the_end)

    def _lines(self, file: int, *, to_the_end: bool) -> Iterator[LogLine]:
        """Read in blocks; what of a line is known to hold no newline is not searched again."""
        start = self._offset or 0
        held = bytearray()
        while data := os.pread(file, _BLOCK, start + len(held)):
            searched = len(held)
            held += data
            begin = 0
            while (end := held.find(b"\n", max(begin, searched))) >= 0:
                yield from self._parts(held[begin:end], start + begin, newline=1)
                begin = end + 1
            del held[:begin]
            start += begin
            while len(held) > LONGEST_LINE:
                yield from self._parts(held[:LONGEST_LINE], start)
                del held[:LONGEST_LINE]
                start += LONGEST_LINE
        if held and to_the_end:
            yield from self._parts(held, start)

    def _parts(self, line: bytearray, start: int, *, newline: int = 0) -> Iterator[LogLine]:
        """Yield a line in parts that somebody can hold, and note how far that is."""
        for begin in range(0, max(1, len(line)), LONGEST_LINE):
            data = line[begin : begin + LONGEST_LINE]
            is_last = begin + len(data) == len(line)
            self._offset = start + begin + len(data) + (newline if is_last else 0)
            text = data.decode("utf-8", "replace")
            restored = self._restore(text) if is_last else text
            yield LogLine(self._node, self._index.time_of(self._offset), restored)

    def _beginning(self, file: int) -> int:
        """The first byte wanted by `since` and `tail`."""
        start = 0
        if self._query.since is not None:
            came_before = self._index.offset_at(self._query.since)
            start = _line_start(file, min(came_before, os.fstat(file).st_size))
        if self._query.tail is not None:
            start = max(start, _tail_start(file, self._query.tail))
        return start


class Index:
    """When each byte came: entries of (offset of the end, nanoseconds), both growing.

    Where it says nothing, or cannot be read, bytes came when the log was last written to.
    """

    def __init__(self, path: Path, log: Path) -> None:
        self._path = path
        self._log = log
        self._known: list[tuple[int, int]] = []
        self._read = 0
        self._position = 0

    def time_of(self, end: int) -> datetime:
        """When the byte before offset `end` came. Asked with growing offsets."""
        while True:
            while self._position < len(self._known):
                until, nanoseconds = self._known[self._position]
                if until >= end:
                    return _moment(nanoseconds)
                self._position += 1
            if not self._load():
                return datetime.fromtimestamp(self._log.stat().st_mtime, UTC)

    def offset_at(self, since: datetime) -> int:
        """How many bytes came before `since`."""
        before = 0
        while True:
            for until, nanoseconds in self._known:
                if _moment(nanoseconds) >= since:
                    return before
                before = until
            if not self._load():
                return before

    def _load(self) -> bool:
        """Take the next entries in, and let go of the last ones."""
        data = b""
        with suppress(BrokenLog), _descriptor_of(self._path) as file:
            data = os.pread(file, _BLOCK, self._read) if file is not None else b""
        whole = len(data) // ENTRY_BYTES * ENTRY_BYTES
        self._read += whole
        self._position = 0
        self._known = [_entry(data, at) for at in range(0, whole, ENTRY_BYTES)]
        return whole > 0


@contextmanager
def _descriptor_of(path: Path) -> Iterator[int | None]:
    """Give the descriptor of a file, None where none is (yet). Raises BrokenLog: a pipe would be waited for."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise BrokenLog(f"{path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise BrokenLog(f"{path} cannot be read: it is no file")
        yield file
    finally:
        os.close(file)


def _entry(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 8], "little"), int.from_bytes(data[at + 8 : at + 16], "little")


def _moment(nanoseconds: int) -> datetime:
    """Round as a line's time is, so that `since` that time takes the line in."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _line_start(file: int, offset: int) -> int:
    """Where the line begins that holds the byte at `offset`."""
    return next(_newlines_backwards(file, offset), -1) + 1


def _tail_start(file: int, lines: int) -> int:
    """Where the last `lines` lines begin; an unfinished last one counts."""
    size = os.fstat(file).st_size
    if lines <= 0:
        return size
    ended = size > 0 and os.pread(file, 1, size - 1) == b"\n"
    for count, position in enumerate(_newlines_backwards(file, size - 1 if ended else size), start=1):
        if count == lines:
            return position + 1
    return 0


def _newlines_backwards(file: int, end: int) -> Iterator[int]:
    """The offsets of the newlines before `end`, last first."""
    while end > 0:
        begin = max(0, end - _BLOCK)
        block = os.pread(file, end - begin, begin)
        position = block.rfind(b"\n")
        while position >= 0:
            yield begin + position
            position = block.rfind(b"\n", 0, position)
        end = begin
