"""Lines as the kubelet gives them, each after its time, and how far they were read."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lyftlearn.backend import LONGEST_LINE, StampedLine, kept_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LONGEST_STAMP = 64
REMEMBERED = 50
_DIGESTED = 256
"""Bytes from which on a text is remembered by its digest."""


class LineBuffer:
    """Makes lines of what comes, and holds no more than one part of one.

    foreign: whether there was anything without a time, such as the server's own words.
    """

    def __init__(self) -> None:
        self._begun: StampedLine | None = None
        self._text = bytearray()
        self._is_within = False
        self.foreign = False

    def add(self, piece: bytes, *, ends: bool) -> Iterator[StampedLine]:
        """Take a part of a line; yield what is complete."""
        self._text += piece
        if not self._is_within and not self._begin(ends=ends):
            return
        while len(self._text) > LONGEST_LINE:
            yield from self._part(LONGEST_LINE)
        if ends:
            yield from self._part(len(self._text))
            self._is_within = False

    def rest(self) -> Iterator[StampedLine]:
        """Yield what was printed without a newline at the end."""
        if self._text and (self._is_within or self._begin(ends=True)):
            yield from self._part(len(self._text))

    def _begin(self, *, ends: bool) -> bool:
        """Take the time off a line's beginning, as soon as all of it is there."""
        if not ends and len(self._text) <= _LONGEST_STAMP:
            return False
        self._begun = kept_logs.parse(bytes(self._text[:_LONGEST_STAMP]))
        self._is_within = True
        if self._begun is None:
            self.foreign = True
        else:
            del self._text[: min(len(self._text), _LONGEST_STAMP) - len(self._begun.text)]
        return True

    def _part(self, length: int) -> Iterator[StampedLine]:
        text = bytes(self._text[:length])
        del self._text[:length]
        if self._begun is not None:
            yield self._begun._replace(text=text)


@dataclass
class LogCursor:
    """How far a pod's log was read: the last stamp, the lines that have it, and how many there were in all.

    whole: whether those are all of them from the log's beginning; a node that rotates a log forgets what is old. gap:
    the last line before and the first after a break in which the node dropped what was between.
    """

    last: StampedLine | None = None
    count: int = 0
    whole: bool = True
    gap: tuple[StampedLine, StampedLine] | None = None
    _given: Counter[bytes] = field(default_factory=Counter)
    _skipping: Counter[bytes] = field(default_factory=Counter)
    _resumed: bool = False
    _recent: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def resume(self) -> dict[str, str]:
        """Return the parameters that ask for what was not read, and a little more: the API counts in seconds."""
        self._skipping = self._given.copy()
        self._resumed = self.last is not None
        return {"sinceTime": f"{self.last.at:%Y-%m-%dT%H:%M:%SZ}"} if self.last else {}

    def passes(self, line: StampedLine) -> bool:
        """Note a line; return whether it is new: within one request all are, wherever the node's clock is set to."""
        mark = _mark(line.text)
        if self._resumed and self.last is not None:
            if self._was_given(line, mark, self.last):
                return False
            self.gap = (self.last, line)  # what was given last should have come again before anything new
            self.whole = self._resumed = False
        if self.last is None or line.stamp != self.last.stamp:
            self._given.clear()
        self.last = line
        self._given[mark] += 1
        self._recent.append((line.stamp, mark))
        self.count += 1
        return True

    def _was_given(self, line: StampedLine, mark: bytes, last: StampedLine) -> bool:
        """Return whether a line comes again after a break, until the last lines that were given have."""
        if line.stamp == last.stamp and self._skipping[mark]:
            self._skipping[mark] -= 1
            self._resumed = self._skipping.total() > 0
            return True
        return line.stamp < last.stamp or (line.stamp, mark) in self._recent

    def rest_of(self, kept: Sequence[StampedLine]) -> Sequence[StampedLine]:
        """Return those of all the lines, as another source has them with times of its own, that were not given."""
        if self.whole:
            return kept[self.count :]
        recent, texts = [mark for _, mark in self._recent], [_mark(line.text) for line in kept]
        for end in range(len(texts), len(recent) - 1, -1):
            if texts[end - len(recent) : end] == recent:
                return kept[end:]
        return ()


def _mark(text: bytes) -> bytes:
    """Return what a text is remembered by."""
    return text if len(text) < _DIGESTED else hashlib.blake2b(text, digest_size=32).digest()
