"""How long failures are taken for passing ones: one measure for everything that follows a job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from lyftlearn.backend import Backoff
from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError
from lyftlearn_kubernetes.api.errors import FORBIDDEN, UNAUTHORIZED, ApiError, NoResponse

if TYPE_CHECKING:
    from collections.abc import Callable

OUTAGE_SECONDS = 600.0
"""A control plane that is upgraded is away for minutes."""
DENIED_SECONDS = 60.0
"""An API server that has just started refuses what is granted until it has read its Roles."""
BACKOFF = Backoff(0.1, 5.0)
_T = TypeVar("_T")


class Patience:
    """Counts failures in a row, by time. Nothing that passes ends a watch or a log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing_since: float | None = None
        self._denied_since: float | None = None
        self._pauses = iter(BACKOFF)

    def reset(self) -> None:
        """Note a success."""
        if self._failing_since is not None:
            self._failing_since = self._denied_since = None
            self._pauses = iter(BACKOFF)

    def pause_after(self, error: Exception) -> float | None:
        """Note a failure; return the seconds until the next try, or None if there should be none."""
        now = self._clock()
        denied = is_denial(error)
        if not denied and not is_outage(error):
            return None
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._denied_since = None if not denied else now if self._denied_since is None else self._denied_since
        since, limit = (self._denied_since, DENIED_SECONDS) if denied else (self._failing_since, OUTAGE_SECONDS)
        if since is not None and now - since > limit:
            return None
        return next(self._pauses)

    def bear(self, ask: Callable[[], _T]) -> _T:
        """Return the answer of `ask`, which is asked again as long as its failures pass."""
        while True:
            try:
                answer = ask()
            except LyftLearnError as exc:
                pause = self.pause_after(exc)
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                self.reset()
                return answer


def is_denial(error: Exception) -> bool:
    """Whether a permission or a login is missing, as far as the server says now, or a node's kubelet behind it."""
    denied = (UNAUTHORIZED, FORBIDDEN)
    return error.status in denied if isinstance(error, ApiError) else isinstance(error, AccessDenied)


def is_outage(error: Exception) -> bool:
    """Whether the same request may be answered a moment later."""
    return error.retryable if isinstance(error, ApiError) else isinstance(error, NoResponse | BackendUnavailable)
