"""A thread for what every start needs: `threading` would load ten modules more."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Thread:
    """Runs `work` beside others. It keeps no process alive."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._running = _thread.allocate_lock()

    def start(self) -> None:
        """Begin, once."""
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._running.release()

    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._running.locked()

    def join(self, timeout: float = -1) -> None:
        """Wait until it has ended, or for so many seconds."""
        if self._running.acquire(timeout=timeout):
            self._running.release()
