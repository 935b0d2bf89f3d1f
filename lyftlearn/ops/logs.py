"""A job's output with what `Job.logs` leaves out: which node wrote a line, and when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lyftlearn._jobs.arguments import log_query
from lyftlearn._jobs.job import Job
from lyftlearn.backend import LogLine
from lyftlearn.types import Duration


def logs(
    job: Job,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: Duration | datetime | None = None,
    node: int | None = None,
) -> Iterator[LogLine]:
    """Return lines of the user's output with `node`, `at` and `text`. The arguments are those of `Job.logs`."""
    return job._log_lines(log_query(follow, tail, since, node))  # noqa: SLF001 - its friend
