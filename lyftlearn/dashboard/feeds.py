"""Logs that are read while they grow: one reader for each job, however many people look at it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lyftlearn._jobs.arguments import log_query
from lyftlearn._jobs.job import Job
from lyftlearn._text.display import printable
from lyftlearn.errors import LyftLearnError

_MOST_LINES = 5000  # of one log: a page with more is of no use, and the command line reads the rest
_MOST_FEEDS = 50
_PAUSE = 0.5  # seconds after which a reader looks for new lines


@dataclass
class _Feed:
    """The last lines of one log. first: the number of the oldest one kept."""

    lines: list[str] = field(default_factory=list)
    first: int = 0
    problem: str = ""
    is_over: bool = False

    def add(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) > 2 * _MOST_LINES:  # not one by one: each removal moves all that is kept
            self.first += len(self.lines) - _MOST_LINES
            del self.lines[:-_MOST_LINES]

    def after(self, number: int) -> tuple[int, list[str]]:
        """Return the lines from `number` on, at most as many as are kept, and the number of the next one."""
        end = self.first + len(self.lines)
        start = max(number, self.first, end - _MOST_LINES)
        return end, self.lines[start - self.first :]


def log_text(job: Job, *, follow: bool) -> Iterator[str]:
    """Yield the lines of a job; before them, where they come from if the job is gone."""
    said: list[str] = []
    for line in job._log_lines(log_query(follow, None, None, None), said.append):  # noqa: SLF001 - its friend
        yield from _take(said)
        yield line.text
    yield from _take(said)


def _take(said: list[str]) -> Iterator[str]:
    while said:
        yield f"[{said.pop()}]"


class Feeds:
    """The logs that somebody looks at. follow: yields the lines of a job until it has ended."""

    def __init__(self, follow: Callable[[str], Iterable[str]]) -> None:
        self._follow = follow
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}

    async def read(self, job_id: str) -> AsyncIterator[list[str] | str]:
        """Yield lines of a job as they come, some at a time; at last, a text that says why there are no more."""
        feed = self._open(job_id)
        if feed is None:
            yield f"{_MOST_FEEDS} logs are being read already: lyftlearn logs --follow {job_id} reads this one"
            return
        number = 0
        while True:
            is_over = feed.is_over
            number, lines = feed.after(number)
            if lines or not is_over:
                yield lines
            if is_over:
                break
            await asyncio.sleep(_PAUSE)
        yield feed.problem or "the log ends here"

    def _open(self, job_id: str) -> _Feed | None:
        with self._lock:
            feed = self._feeds.get(job_id)
            if feed is not None and not feed.problem:
                return feed
            if len(self._feeds) >= _MOST_FEEDS:
                for over in [name for name, one in self._feeds.items() if one.is_over]:
                    del self._feeds[over]
            if len(self._feeds) >= _MOST_FEEDS:
                return None
            feed = self._feeds[job_id] = _Feed()
        threading.Thread(target=self._run, args=(job_id, feed), daemon=True, name=f"log-{job_id}").start()
        return feed

    def _run(self, job_id: str, feed: _Feed) -> None:
        try:
            for line in self._follow(job_id):
                feed.add(printable(line))
        except LyftLearnError as error:
            feed.problem = str(error)
        except Exception as error:  # noqa: BLE001 - a backend that breaks ends one log, not the dashboard
            feed.problem = f"{type(error).__name__}: {error}"
        feed.is_over = True
