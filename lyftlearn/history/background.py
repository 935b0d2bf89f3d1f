"""Work beside submissions: done by one thread, in order, and never at the cost of what it is beside."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

_MOST_WAITING = 1000
_SECONDS_TO_FINISH = 5.0
_log = logging.getLogger("lyftlearn")


class Background:
    """A queue, and a thread while something is in it.

    An error is logged, once as long as it stays the same; a full queue drops and says so. A forked child begins empty:
    what waits is its parent's to do.
    """

    def __init__(self) -> None:
        self._begin()
        _all.add(self)

    def do(self, task: Callable[[], None]) -> None:
        """Do `task` soon. Returns at once, and raises nothing."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                self._complain(f"a record of a migration was dropped: {_MOST_WAITING} are waiting")
                return
            self._waiting.append(task)
            self._pending += 1
            if not self._runs:
                self._start()

    def attempt(self, task: Callable[[], None]) -> bool:
        """Do `task` at once, and return whether that went well. An error is logged, once as long as it stays so."""
        try:
            task()
        except Exception as exc:  # noqa: BLE001 - the journal's trouble is nobody's failed submission
            self._complain(f"beside a submission: {type(exc).__name__}: {exc}")
            return False
        return True

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do, or for `timeout` seconds, by default 5. Return whether nothing is left."""
        with self._idle:
            return self._idle.wait_for(lambda: self._pending == 0, _SECONDS_TO_FINISH if timeout is None else timeout)

    def finish(self) -> None:
        """Wait as `drain` does, and say what was not done: the process ends."""
        if not self.drain():
            _log.warning("beside submissions: %d records of a migration wait for the next process", self._pending)

    def _begin(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._runs = False
        self._pending = 0
        self._said = ""

    def _start(self) -> None:
        """Start the thread. Where none can be started, what waits is done by the next one that can."""
        at_exit(_finish_all)
        try:
            threading.Thread(target=self._run, name="lyftlearn-background", daemon=True).start()
            self._runs = True
        except RuntimeError as exc:
            self._complain(f"beside a submission: {exc}; what waits is done with the next submission")

    def _run(self) -> None:
        while task := self._next():
            if self.attempt(task):
                self._said = ""
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._runs = False
            return None

    def _complain(self, text: str) -> None:
        if text != self._said:
            _log.warning("%s", text)
        self._said = text


_journalling = threading.RLock()
_SECONDS_UNTIL_FORK = 10.0


@contextmanager
def holding_forks_up() -> Iterator[None]:
    """Let a fork of this process wait, for seconds at most, while this thread imports SQLAlchemy or uses a database.

    The child has neither this thread nor its locks' owners: it could import nothing and open no database any more.
    """
    with _journalling:
        yield


class _Fork:
    held = False

    @classmethod
    def begin(cls) -> None:
        cls.held = _journalling.acquire(timeout=_SECONDS_UNTIL_FORK)

    @classmethod
    def end(cls) -> None:
        if cls.held:
            _journalling.release()

    @classmethod
    def end_in_child(cls) -> None:
        """Where a thread of the parent still has it, nobody here would ever give it back."""
        global _journalling  # noqa: PLW0603 - the process's
        if cls.held:
            _journalling.release()
        else:
            _journalling = threading.RLock()


_all: weakref.WeakSet[Background] = weakref.WeakSet()


@cache
def at_exit(function: Callable[[], None]) -> None:
    """Call `function` once at the end, before the interpreter forbids what it may need.

    Thread pools take no work after `concurrent.futures` has ended, which is before `atexit`; backends and their SDKs
    send with such pools. `threading` ends what registered with it last first.
    """
    import concurrent.futures.thread  # noqa: F401, PLC0415 - registers itself, and so before us

    with suppress(RuntimeError):  # the interpreter is already ending: what is begun now may be lost
        getattr(threading, "_register_atexit", atexit.register)(function)


def _finish_all() -> None:
    for background in list(_all):
        background.finish()


def _begin_all() -> None:
    for background in list(_all):
        background._begin()  # noqa: SLF001 - the same class's other half


os.register_at_fork(after_in_child=_begin_all)
os.register_at_fork(before=_Fork.begin, after_in_parent=_Fork.end, after_in_child=_Fork.end_in_child)
