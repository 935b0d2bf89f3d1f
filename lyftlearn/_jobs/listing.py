"""Jobs that are listed: an iterator that a notebook shows as a table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job


class JobListing(Iterator["Job"]):
    """Gives jobs one at a time. Looking at it takes none of them away."""

    def __init__(self, jobs: Iterator[Job]) -> None:
        self._jobs = jobs
        self._seen: deque[Job] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        return self._seen.popleft() if self._seen else next(self._jobs)

    def _repr_html_(self) -> str:
        from lyftlearn._jobs.views import jobs_html  # noqa: PLC0415 - only notebooks show it

        self._seen.extend(self._jobs)
        return jobs_html(self._seen)
