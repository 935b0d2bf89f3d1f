"""The history, for whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyftlearn._text.redaction import redact_causes
from lyftlearn.errors import BackendUnavailable, InvalidJob, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._session import Session
    from lyftlearn.history.store import History


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
