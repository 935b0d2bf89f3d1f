"""Pauses between repetitions, growing, and spread so that many callers do not return together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

CHANCE = random.SystemRandom()
"""lyftlearn's own: a script that has seeded `random` draws the same numbers, whatever became of its calls."""


@dataclass(frozen=True)
class Backoff:
    """The pauses of one schedule, in seconds: the first, each `factor` times the last, never above `longest`.

    jitter: the part of each pause, of 0 to 1, that chance may take away. times: how many pauses there are; None means
    that they never end. An iterator is one run of the schedule; a success begins a new one.
    """

    first: float
    longest: float
    factor: float = 2.0
    jitter: float = 0.5
    times: int | None = None

    def __iter__(self) -> Iterator[float]:
        pause, given = self.first, 0
        while self.times is None or given < self.times:
            yield pause * (1 - self.jitter * CHANCE.random())
            pause, given = min(pause * self.factor, self.longest), given + 1
