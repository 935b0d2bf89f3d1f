"""An event that a signal's handler may set."""

from __future__ import annotations

import os
import select
from contextlib import suppress


class SignalEvent:
    """A `threading.Event` whose `notify` waits for no lock: it writes to a pipe, at whose other end `wait` looks.

    A handler runs in the main thread, which may just hold the lock of an Event: it would wait for itself, for ever.
    """

    def __init__(self) -> None:
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)

    def __del__(self) -> None:
        for end in self._ends:
            os.close(end)

    def notify(self) -> None:
        """Let `wait` return."""
        with suppress(BlockingIOError):  # it is full, so it is set
            os.write(self._ends[1], b"\0")

    def clear(self) -> None:
        """Forget what was set."""
        with suppress(BlockingIOError):
            while os.read(self._ends[0], 4096):
                pass

    def is_set(self) -> bool:
        """Whether it was set, and not cleared since."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Return once it is set, or after `seconds`: whether it is."""
        poll = select.poll()
        poll.register(self._ends[0], select.POLLIN)
        return bool(poll.poll(seconds * 1000))
