"""What a plan has to say beside its requests, told to the person who submits: on standard error, each note once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable

from lyftlearn._text.display import printable

PREFIX = "lyftlearn: note: "
_MOST_KEPT = 1_000
_lock = threading.Lock()
_told: dict[str, None] = {}
_silenced = False


def silence() -> None:
    """Tell nothing any more, for programs that read standard error."""
    global _silenced  # noqa: PLW0603 - standard error is the process's, too
    _silenced = True


def tell(notes: Iterable[str]) -> None:
    """Print the notes that this process has not printed yet. Never fails: the job is accepted."""
    if _silenced or sys.stderr is None:
        return
    for note in _untold(notes):
        try:
            print(f"{PREFIX}{printable(note)}", file=sys.stderr, flush=True)
        except (OSError, ValueError):  # closed, or nobody reads it
            return


def _untold(notes: Iterable[str]) -> list[str]:
    with _lock:
        untold = [note for note in dict.fromkeys(notes) if note not in _told]
        for note in untold:
            if len(_told) >= _MOST_KEPT:
                del _told[next(iter(_told))]
            _told[note] = None
    return untold


def _renew_lock() -> None:
    """A forked child has no thread that would give back what was held."""
    global _lock  # noqa: PLW0603 - the process's, as what it has told
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
