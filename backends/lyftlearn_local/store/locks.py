"""Locks that the kernel gives back, however their holder dies. Every supervisor loads this."""

from __future__ import annotations

import errno
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import ClassVar


class Lock:
    """An flock, which the kernel releases however its holder dies.

    A forked child shares its parent's locks and would keep them for as long as it lives, so it closes its copies.
    """

    _descriptors: ClassVar[set[int]] = set()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._descriptors.add(descriptor)

    @classmethod
    def take(cls, path: Path, *, make: bool = True) -> Lock | None:
        """Return the lock, or None if somebody has it. make: its file; else it raises FileNotFoundError."""
        return cls._of(os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if make else 0), 0o600))

    @classmethod
    def wait_for(cls, path: Path) -> Lock:
        """Return the lock, after whoever has it; for what takes no time."""
        lock = cls(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o600))
        fcntl.flock(lock._descriptor, fcntl.LOCK_EX)
        return lock

    @classmethod
    def _of(cls, descriptor: int) -> Lock | None:
        lock = cls(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.release()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return None
        return lock

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Lock:
        """Return the lock that this process had before it became another program."""
        return cls(descriptor)

    def hand_over(self) -> int:
        """Let the program that this process becomes keep the lock; return what it needs to know."""
        os.set_inheritable(self._descriptor, True)
        return self._descriptor

    def release(self) -> None:
        """Give it back."""
        self._descriptors.discard(self._descriptor)
        os.close(self._descriptor)

    @classmethod
    def release_copies(cls) -> None:
        """Close what a fork copied; the parent's locks stay its own."""
        while cls._descriptors:
            os.close(cls._descriptors.pop())

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.release()


os.register_at_fork(after_in_child=Lock.release_copies)
