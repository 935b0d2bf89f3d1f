"""Locks that a child process finds open."""

from __future__ import annotations

import os
import threading
import weakref

_locks: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


class ProcessLock:
    """A lock of one process: after a fork, the child has one of its own, whoever held the parent's at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _renew_all() -> None:
    for lock in tuple(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
