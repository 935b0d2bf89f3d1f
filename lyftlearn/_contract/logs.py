"""Lines of output: which are asked for, and what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """Which lines of a log to yield.

    `tail` is a number of lines for each node. With `follow`, the lines end once the job has finished and its last line
    was yielded.
    """

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    node: int | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of output without its newline, or a part of a long one. Bytes that are not UTF-8 have become U+FFFD."""

    node: int
    at: datetime
    text: str


@dataclass(frozen=True)
class KeptLog:
    """What is left of the log of a job that is gone. place: where it is, as a person finds it."""

    place: str
    lines: Iterator[LogLine]
