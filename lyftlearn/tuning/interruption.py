"""SIGTERM, heard where it does no harm: never between a request and the note of what it answered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class SearchInterrupted(BaseException):
    """The driver was asked to end."""


class Interruption:
    """Raises `SearchInterrupted` in the main thread once SIGTERM has come, but not within `defer`."""

    def __init__(self) -> None:
        self._depth = 0
        self._has_come = False

    def listen(self) -> None:
        """Hear SIGTERM from now on."""
        signal.signal(signal.SIGTERM, lambda *_: self.interrupt())

    def interrupt(self) -> None:
        """Ask the driver to end."""
        self._has_come = True
        self._raise_if_due()

    @contextmanager
    def defer(self) -> Iterator[None]:
        """Let what is inside come to its end first."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._has_come and not self._depth:
            self._has_come = False  # once: what follows is the way out
            raise SearchInterrupted
