"""What goes wrong on demand: for an operation, what happens to its next requests."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass


class Refused(Exception):
    """An error as AWS answers it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Dropped(Exception):
    """The connection is closed without an answer."""


@dataclass(frozen=True)
class Fault:
    """before: happens instead of the operation; else after it, when it has taken effect."""

    error: Exception
    before: bool


THROTTLED = Fault(Refused("ThrottlingException", "Rate exceeded"), before=True)
BROKEN = Fault(Refused("InternalFailure", "An internal error has occurred", 500), before=True)
BROKEN_AFTER = Fault(Refused("InternalFailure", "An internal error has occurred", 500), before=False)
LOST = Fault(Dropped(), before=True)
LOST_AFTER = Fault(Dropped(), before=False)
DENIED = Fault(
    Refused("AccessDeniedException", "User: arn:aws:iam::123456789012:user/x is not authorized"), before=True
)


class Faults:
    """The faults to come, and every request seen. storm: a source of chance, and how often it strikes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: dict[str, deque[Fault]] = {}
        self.seen: list[tuple[float, str]] = []
        self.storm: tuple[random.Random, float] | None = None

    def add(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Let `fault` happen to the next requests for `operation`."""
        with self._lock:
            self._coming.setdefault(operation, deque()).extend([fault] * times)

    def next(self, operation: str) -> Fault | None:
        """Note a request and return what happens to it."""
        with self._lock:
            self.seen.append((time.monotonic(), operation))
            coming = self._coming.get(operation)
            return coming.popleft() if coming else self._of_the_storm()

    def _of_the_storm(self) -> Fault | None:
        if self.storm is None or self.storm[0].random() >= self.storm[1]:
            return None
        return self.storm[0].choice((THROTTLED, BROKEN, BROKEN_AFTER, LOST, LOST_AFTER))

    def clear(self) -> None:
        """Let nothing go wrong any more, and forget the requests."""
        with self._lock:
            self.storm = None
            self._coming.clear()
            self.seen.clear()
