"""The mark of a job whose supervisor was started: removed by one that begins, with words if it ended before that."""

from __future__ import annotations

import contextlib
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lyftlearn_local.store.files import JobFiles

BEGIN_SECONDS = 600.0
"""How long a Python may take to begin: a disk may be away for a while, a machine overloaded. Others run meanwhile."""
HANDED_OVER = "handed over"
"""Of a successor, which keeps its claim for as long as it lives."""


class StartMark:
    """What one look at it says. has_words: the supervisor ended, or its claim tells whether it lives."""

    def __init__(self, size: int, modified_at: float) -> None:
        self.has_words = size > 0
        self.is_overdue = time.time() - modified_at > BEGIN_SECONDS


def look(job: JobFiles) -> StartMark | None:
    """Return the mark, or None if nobody was started, or it has begun."""
    try:
        found = job.not_started_path.stat()
    except OSError:
        return None
    return StartMark(found.st_size, found.st_mtime)


def write(job: JobFiles, words: str = "") -> None:
    """Say that a supervisor of the job is being started. Raises OSError."""
    job.not_started_path.touch(mode=0o600)
    job.not_started_path.write_text(words)


def remove(job: JobFiles) -> None:
    """Say that it has begun, or that there is none."""
    with contextlib.suppress(OSError):
        job.not_started_path.unlink()
