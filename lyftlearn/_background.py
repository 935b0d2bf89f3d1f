"""Work beside submissions: done by one thread, in order, and never at the cost of what it is beside."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from queue import Full, Queue

_MOST_WAITING = 1000
_SECONDS_AT_EXIT = 5.0
_log = logging.getLogger("lyftlearn")


class Background:
    """A queue and a thread that starts with the first task. Errors are logged, a full queue drops and says so."""

    def __init__(self) -> None:
        self._waiting: Queue[Callable[[], None]] = Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = threading.Condition()
        self._pending = 0

    def do(self, task: Callable[[], None]) -> None:
        """Do `task` soon. Returns at once."""
        self._start()
        try:
            self._waiting.put_nowait(task)
        except Full:
            _log.warning("a record of a migration was dropped: %d are waiting", _MOST_WAITING)
            return
        with self._idle:
            self._pending += 1

    def drain(self, timeout: float = _SECONDS_AT_EXIT) -> bool:
        """Wait until nothing is left to do, or for `timeout` seconds. Return whether nothing is left."""
        with self._idle:
            return self._idle.wait_for(lambda: self._pending == 0, timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lyftlearn-background", daemon=True)
                self._thread.start()
                atexit.register(self.drain)

    def _run(self) -> None:
        while True:
            task = self._waiting.get()
            try:
                task()
            except Exception as exc:  # noqa: BLE001 - the journal's trouble is nobody's failed submission
                _log.warning("beside a submission: %s: %s", type(exc).__name__, exc)
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()
