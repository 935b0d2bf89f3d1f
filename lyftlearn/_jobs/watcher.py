"""One backend in this process, with the one watcher that serves every handle on its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from lyftlearn.backend import Backend, Following
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import JobEvent

Listener: TypeAlias = Callable[[JobEvent | LyftLearnError], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_MOST_REMEMBERED = 10_000  # jobs that nobody waits for any more
_log = logging.getLogger("lyftlearn")


@dataclass
class _Followed:
    """Who listens to a job, and what was last heard of it; its end is never forgotten."""

    listeners: list[Listener] = field(default_factory=list)
    heard: JobEvent | None = None

    def hear(self, event: JobEvent) -> None:
        if self.heard is None or not self.heard.status.finished:
            self.heard = event


class Connection:
    """A backend, and who listens to what happens to its jobs."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._following = Following()
        self._followed: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def listen(self, job_id: str, listener: Listener) -> Callable[[], None]:
        """Give every event of the job to `listener`, from now until the returned function is called.

        What was heard last is given at once, for the watch need not repeat it: it may not even notice that a job was
        left and joined again. An error that repeating cannot mend is given too. The listener must return at once: the
        watcher's thread calls it.
        """
        with self._lock:
            followed = self._followed.setdefault(job_id, _Followed())
            followed.listeners.append(listener)
            if followed.heard is not None:
                listener(followed.heard)
            self._following.add(job_id)
            self._start()
        return lambda: self._unlisten(job_id, listener)

    def close(self) -> None:
        """End the watcher."""
        self._following.close()

    def _unlisten(self, job_id: str, listener: Listener) -> None:
        with self._lock:
            followed = self._followed[job_id]
            followed.listeners = [other for other in followed.listeners if other is not listener]
            if not followed.listeners:
                self._following.discard(job_id)
                self._forget()

    def _forget(self) -> None:
        """Let go of jobs that nobody waits for, once there are many."""
        if len(self._followed) > _MOST_REMEMBERED:
            self._followed = {job_id: one for job_id, one in self._followed.items() if one.listeners}

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

    def _tell(self, job_id: str, said: JobEvent | LyftLearnError) -> None:
        with self._lock:
            followed = self._followed.get(job_id, _Followed())
            if isinstance(said, JobEvent):
                followed.hear(said)
            for listener in followed.listeners:
                listener(said)
