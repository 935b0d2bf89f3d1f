"""What a wait tells of searches: how many trials have ended, and the best so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lyftlearn._jobs.job import Job
from lyftlearn._jobs.tuning import TuningJob
from lyftlearn.errors import LyftLearnError

_PACE = 2.0  # seconds between two looks into the storage
_PATIENCE = 5.0  # seconds for the last look


@contextmanager
def search_standings(jobs: Sequence[Job], standings: dict[str, str]) -> Iterator[None]:
    """Keep in `standings` a text for each search among `jobs`, by its id, until the context ends.

    A thread of its own reads the storage, so a storage that is slow or away delays no wait, and the texts stay as they
    were. It looks a last time at the end, unless an error ends the context.
    """
    searches = [job for job in jobs if isinstance(job, TuningJob)]
    if not searches:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(searches, standings, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
    thread.join(_PATIENCE)


def _follow(searches: Sequence[TuningJob], standings: dict[str, str], ended: threading.Event) -> None:
    _read(searches, standings)
    while not ended.wait(_PACE):
        _read(searches, standings)
    _read(searches, standings)


def _read(searches: Sequence[TuningJob], standings: dict[str, str]) -> None:
    for search in searches:
        with suppress(LyftLearnError):
            standings[search.id] = search._standing()  # noqa: SLF001 - a friend of the handle
