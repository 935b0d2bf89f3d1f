"""One backend in this process, with the one watcher that serves every handle on its jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from lyftlearn._storage import Storage
from lyftlearn.backend import Backend, JobRecord, WatchSet
from lyftlearn.errors import AccessDenied, BackendUnavailable, JobNotFound, LyftLearnError
from lyftlearn.events import JobEvent
from lyftlearn.types import JobState

Listener: TypeAlias = Callable[[JobEvent | LyftLearnError], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SECONDS_UNTIL_FINAL = 60.0  # for which nothing but refusals is heard
_NEW_GRANTS = "What was granted just now, or by a server that has just started, may be refused for a minute: ask again"
_MOST_REMEMBERED = 10_000  # jobs that nobody waits for any more
_log = logging.getLogger("lyftlearn")


@dataclass(slots=True)
class _Subscription:
    """Who listens to a job, and what was last heard of it; its end is never forgotten."""

    listeners: tuple[Listener, ...] = ()
    last_event: JobEvent | None = None
    absence: JobNotFound | None = None

    def keep(self, news: JobEvent | LyftLearnError) -> None:
        if isinstance(news, JobNotFound):
            self.absence = news
        elif isinstance(news, JobEvent) and (self.last_event is None or not self.last_event.status.finished):
            self.last_event, self.absence = news, None

    def latest(self) -> Iterator[JobEvent | LyftLearnError]:
        """Yield what whoever joins late would have heard."""
        if self.last_event is not None:
            yield self.last_event
        if self.absence is not None and not (self.last_event and self.last_event.status.finished):
            yield self.absence


class SharedWatch:
    """A backend, and who listens to what happens to its jobs.

    storage: opens the platform's. on_end: is told how a job ended by each handle that learns of it. pace: the seconds
    between two questions about one job, if its handle is asked for its status over and over.
    """

    pace = 1.0

    def __init__(
        self,
        backend: Backend,
        storage: Callable[[], Storage] | None = None,
        on_end: Callable[[JobRecord, JobState], None] = lambda *_: None,
    ) -> None:
        self.backend = backend
        self.on_end = on_end
        self._storage = storage
        self._following = WatchSet(self._dispatch)
        self._subscriptions: dict[str, _Subscription] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._refused_since: float | None = None

    @property
    def storage(self) -> Storage:
        """The platform's storage, where searches keep their state."""
        if self._storage is None:
            raise LyftLearnError("this process follows jobs without a storage")
        return self._storage()

    def listen(self, job_id: str, listener: Listener) -> Callable[[], None]:
        """Give every event of the job to `listener`, from now until the returned function is called.

        The last event is given at once, for the watch need not repeat it: it may not even notice that a job was
        left and joined again. An error that repeating cannot mend is given too. The listener must return at once: the
        watcher's thread calls it.
        """
        self.join(job_id, listener)
        return partial(self.leave, job_id, listener)

    def join(self, job_id: str, listener: Listener) -> None:
        """Listen as `listen` does, until `leave` is called with the same."""
        self._look_again(job_id)
        with self._lock:
            self._start()
            subscription = self._subscriptions.setdefault(job_id, _Subscription())
            subscription.listeners = (*subscription.listeners, listener)
            for news in subscription.latest():
                listener(news)
            self._following.add(job_id)

    def leave(self, job_id: str, listener: Listener) -> None:
        """Give the listener no more events of the job."""
        with self._lock:
            subscription = self._subscriptions[job_id]
            subscription.listeners = tuple(other for other in subscription.listeners if other is not listener)
            if not subscription.listeners:
                self._following.discard(job_id)
                self._forget()

    def describe(self, job_id: str) -> JobRecord:
        """Return what is known of a job now. Raises what `Backend.describe` raises; of a refusal, that it may pass."""
        try:
            return self.backend.describe(job_id)
        except AccessDenied as exc:
            raise AccessDenied(f"{exc}. {_NEW_GRANTS}") from exc

    def close(self) -> None:
        """End the watcher."""
        self._following.close()

    def _look_again(self, job_id: str) -> None:
        """Ask for a job that was not there when it was last followed: it may have been submitted again."""
        subscription = self._subscriptions.get(job_id)
        if subscription is not None and subscription.absence is not None and not subscription.listeners:
            with suppress(LyftLearnError):
                self._dispatch(job_id, self.backend.describe(job_id).event)

    def _forget(self) -> None:
        """Let go of jobs that nobody waits for, once there are many."""
        if len(self._subscriptions) > _MOST_REMEMBERED:
            self._subscriptions = {job_id: one for job_id, one in self._subscriptions.items() if one.listeners}

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._watch, name=f"lyftlearn-{self.backend.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            message = f"this process cannot start the thread that follows jobs ({exc}); the jobs go on"
            raise BackendUnavailable(message) from exc
        self._thread = thread

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        while not self._following.closed:
            try:
                for event in self.backend.watch(self._following):
                    pause, self._refused_since = _FIRST_PAUSE, None
                    self._dispatch(event.job_id, event)
            except LyftLearnError as exc:
                self._report(exc)
            except Exception:  # noqa: BLE001 - a plugin's fault must not end every wait in this process
                _log.exception("the watch of backend %s broke; it goes on", self.backend.name)
            self._following.wait_for_change(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _report(self, error: LyftLearnError) -> None:
        """Tell everybody who waits, if nothing else has been heard for a minute.

        A server that restarts refuses for a while what it had granted, and an error about one job is not about all.
        """
        now = time.monotonic()
        passing = isinstance(error, ConnectionError)
        self._refused_since = None if passing else self._refused_since or now
        if self._refused_since is None or now - self._refused_since < _SECONDS_UNTIL_FINAL:
            _log.warning("%s", error)
            return
        for job_id in self._following.ids:
            self._dispatch(job_id, error)

    def _dispatch(self, job_id: str, news: JobEvent | LyftLearnError) -> None:
        with self._lock:
            subscription = self._subscriptions.get(job_id, _Subscription())
            subscription.keep(news)
            for listener in subscription.listeners:
                listener(news)
