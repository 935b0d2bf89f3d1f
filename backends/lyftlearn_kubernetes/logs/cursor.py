"""Lines as the kubelet gives them, each after its time, and how far they were read."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")
REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class StampedLine:
    """A line; `stamp` is its time in full, in nanoseconds, and sorts as text."""

    stamp: str
    at: datetime
    text: bytes


def parse(line: bytes) -> StampedLine | None:
    """Return the parts of a line; None for one that was cut, or is the server's own word."""
    match = _STAMP.match(line)
    if match is None:
        return None
    fraction = (match[2] or b"").decode().ljust(9, "0")
    zone = match[3].decode().replace("Z", "+00:00")
    second = datetime.fromisoformat(match[1].decode() + zone).astimezone(UTC)
    stamp = f"{second:%Y-%m-%dT%H:%M:%S}.{fraction}"
    return StampedLine(stamp, second.replace(microsecond=int(fraction[:6])), line[match.end() :])


@dataclass
class LogCursor:
    """How far a pod's log was read: the last stamp, the lines that have it, and how many there were in all.

    whole: whether those are all of them from the log's beginning; a node that rotates a log forgets what is old.
    """

    last: StampedLine | None = None
    count: int = 0
    whole: bool = True
    _given: Counter[bytes] = field(default_factory=Counter)
    _skipping: Counter[bytes] = field(default_factory=Counter)
    _resumed: bool = False
    _recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def resume(self) -> dict[str, str]:
        """Return the parameters that ask for what was not read, and a little more: the API counts in seconds."""
        self._skipping = self._given.copy()
        self._resumed = self.last is not None
        return {"sinceTime": f"{self.last.at:%Y-%m-%dT%H:%M:%SZ}"} if self.last else {}

    def passes(self, line: StampedLine) -> bool:
        """Note a line; return whether it is new."""
        if self.last is not None and line.stamp < self.last.stamp:
            return False
        if self._skipping[line.text] and self.last is not None and line.stamp == self.last.stamp:
            self._skipping[line.text] -= 1
            return False
        if self._resumed:  # what was given last should have come again before anything new
            self.whole = self.whole and not self._skipping.total()
            self._resumed = False
        if self.last is None or line.stamp > self.last.stamp:
            self._given.clear()
            self._skipping.clear()
        self.last = line
        self._given[line.text] += 1
        self._recent.append(line.text)
        self.count += 1
        return True

    def rest_of(self, kept: Sequence[StampedLine]) -> Sequence[StampedLine]:
        """Return those of all the lines, as another source has them with times of its own, that were not given."""
        if self.whole:
            return kept[self.count :]
        recent, texts = list(self._recent), [line.text for line in kept]
        for end in range(len(texts), len(recent) - 1, -1):
            if texts[end - len(recent) : end] == recent:
                return kept[end:]
        return ()
