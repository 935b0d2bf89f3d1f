"""How long somebody who follows jobs bears it that AWS refuses or is away.

What was granted before may be refused for a while: a token is renewed, a policy is being changed. Whoever waits for a
job of hours must not lose it to that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from lyftlearn_sagemaker.api.errors import AwsError, Kind

_log = logging.getLogger("lyftlearn")
_T = TypeVar("_T")
_PAUSE = 5.0  # seconds
REFUSED_FOR = 120.0
"""Seconds of nothing but refusals after which a refusal is final."""


class Patience:
    """Whether to go on after an error. Silences and throttling are always borne."""

    def __init__(self) -> None:
        self._refused_since: float | None = None

    def restore(self) -> None:
        """Start anew: AWS has answered."""
        self._refused_since = None

    def bears(self, error: AwsError) -> bool:
        """Return whether `error` may pass."""
        if error.is_misconfiguration:
            return False
        if error.kind is not Kind.REFUSED and not error.is_denied:
            return True
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        return now - self._refused_since < REFUSED_FOR

    def bear(self, ask: Callable[[], _T]) -> _T:
        """Return the answer of `ask`, which is asked again as long as its errors may pass. What is missing is told."""
        while True:
            try:
                answer = ask()
            except AwsError as exc:
                if exc.is_missing or not self.bears(exc):
                    raise
                _log.warning("%s; it is asked again", exc)
            else:
                self.restore()
                return answer
            time.sleep(_PAUSE)
