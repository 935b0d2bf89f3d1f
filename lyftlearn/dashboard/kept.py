"""Answers that take long, kept for a while: a page shows the last one at once, and a new one is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from lyftlearn.errors import LyftLearnError

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came, and when; or why nothing came."""

    value: T | None
    at: datetime
    problem: str = ""


class Kept(Generic[T]):
    """The last answer to one question. ask: takes its time. seconds: after which it is asked again, by who looks."""

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lock = threading.Lock()
        self._answer: Answer[T] | None = None
        self._asked_at = float("-inf")
        self._done = threading.Event()

    def get(self, patience: float) -> Answer[T] | None:
        """Return the last answer; None if none is there within so many seconds."""
        with self._lock:
            if time.monotonic() - self._asked_at >= self._seconds:
                self._asked_at = time.monotonic()
                threading.Thread(target=self._run, daemon=True, name="lyftlearn-dashboard").start()
        self._done.wait(patience)
        return self._answer

    def _run(self) -> None:
        try:
            answer = Answer(self._ask(), datetime.now(UTC))
        except LyftLearnError as error:
            answer = Answer(None, datetime.now(UTC), str(error))
        except Exception as error:  # noqa: BLE001 - whatever breaks, the page says so and the others go on
            answer = Answer(None, datetime.now(UTC), f"{type(error).__name__}: {error}")
        self._answer = answer
        self._done.set()
