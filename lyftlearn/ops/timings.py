"""Where a job's time went."""

from __future__ import annotations

from lyftlearn._jobs.job import Job
from lyftlearn.backend import Timings


def timings(job: Job) -> Timings:
    """Return how long a job waited, pulled its image, started, fetched, ran and uploaded. Asks its backend.

    Raises JobNotFound, AccessDenied, BackendUnavailable.
    """
    return job._timings()  # noqa: SLF001 - its friend
