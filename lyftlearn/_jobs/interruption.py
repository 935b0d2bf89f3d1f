"""Ctrl-C in a script: the jobs go on, and the traceback says how to come back to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_MOST_NAMED = 10


@contextmanager
def advising(job_ids: Sequence[str], command: str) -> Iterator[None]:
    """Add to a KeyboardInterrupt what to type afterwards. command: of the command line, which takes the ids."""
    try:
        yield
    except KeyboardInterrupt as exc:
        exc.add_note(_advice(job_ids, command))
        raise


def _advice(job_ids: Sequence[str], command: str) -> str:
    ids = " ".join(job_ids[:_MOST_NAMED]) + (" ..." if len(job_ids) > _MOST_NAMED else "")
    found = f"lyftlearn.job({job_ids[0]!r})" if len(job_ids) == 1 else "lyftlearn.job(ID)"
    subject = "The job goes on" if len(job_ids) == 1 else "The jobs go on"
    return f"{subject}. Come back with {found}, or in a shell: lyftlearn {command} {ids}"
