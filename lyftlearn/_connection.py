"""One backend in this process, with the one watcher that serves every handle on its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

from lyftlearn.backend import Backend, Following
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import JobEvent

Listener: TypeAlias = Callable[[JobEvent | LyftLearnError], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_log = logging.getLogger("lyftlearn")


class Connection:
    """A backend, and who listens to what happens to its jobs."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._following = Following()
        self._listeners: dict[str, list[Listener]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def listen(self, job_id: str, listener: Listener) -> Callable[[], None]:
        """Give every event of the job to `listener`, from now until the returned function is called.

        An error that repeating cannot mend is given too. The listener is called in the watcher's thread and must return
        at once.
        """
        with self._lock:
            self._listeners.setdefault(job_id, []).append(listener)
            self._following.add(job_id)
            self._start()
        return lambda: self._unlisten(job_id, listener)

    def close(self) -> None:
        """End the watcher."""
        self._following.close()

    def _unlisten(self, job_id: str, listener: Listener) -> None:
        with self._lock:
            remaining = [other for other in self._listeners.get(job_id, []) if other is not listener]
            self._listeners[job_id] = remaining
            if not remaining:
                del self._listeners[job_id]
                self._following.discard(job_id)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name=f"lyftlearn-{self.backend.name}", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        while not self._following.closed:
            try:
                for event in self.backend.watch(self._following):
                    pause = _FIRST_PAUSE
                    self._tell(event.job_id, event)
            except LyftLearnError as exc:
                self._report(exc)
            except Exception:  # noqa: BLE001 - a plugin's fault must not end every wait in this process
                _log.exception("the watch of backend %s broke; it goes on", self.backend.name)
            self._following.wait_for_change(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _report(self, error: LyftLearnError) -> None:
        if isinstance(error, ConnectionError):
            _log.warning("%s", error)
            return
        for job_id in self._following.ids:
            self._tell(job_id, error)

    def _tell(self, job_id: str, event: JobEvent | LyftLearnError) -> None:
        for listener in tuple(self._listeners.get(job_id, ())):
            listener(event)
