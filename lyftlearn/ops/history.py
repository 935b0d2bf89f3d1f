"""The history, for whoever reads it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyftlearn._text.redaction import redact_causes
from lyftlearn.errors import BackendUnavailable, InvalidJob, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._session import Session
    from lyftlearn.history.store import History


@contextmanager
def no_collections() -> Iterator[None]:
    """Look for no garbage while many values are made that stay, which would be looked through again and again.

    Of threads that do this at once, the first to end lets collections come again: the others are a little slower then.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def open_history(session: Session) -> Iterator[History]:
    """Give the history, after what this process itself has still to write.

    Raises BackendUnavailable if it cannot be used, and InvalidJob if its URL is none.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - only for the history

    session.recorder.drain()
    try:
        yield session.history.history()
    except LyftLearnError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        raise BackendUnavailable(f"the history of jobs cannot be used: {exc}") from redact_causes(exc)
    except (ImportError, ValueError) as exc:  # a driver that is not installed, a port that is no number
        problem = f"cannot be used ({exc}): write an SQLAlchemy URL of SQLite or PostgreSQL whose driver is installed"
        raise InvalidJob([("[history] url", problem)]) from redact_causes(exc)
