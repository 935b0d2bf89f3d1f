"""What passes is waited for: a storage or platform that is away, a quota that is full, a permission that comes late."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lyftlearn._contract.backoff import Backoff
from lyftlearn._text.display import printable
from lyftlearn._text.redaction import redact
from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError, QuotaExceeded
from lyftlearn.tuning.interruption import Interruption

_Answer = TypeVar("_Answer")
_SECONDS_DENIED = 60.0  # a permission that was granted may take as long to be known everywhere
_PAUSES = Backoff(first=0.5, longest=30.0)
_PASSING = (BackendUnavailable, QuotaExceeded, AccessDenied)


class Patience:
    """Repeats what is refused for a while, and says so, once for each reason."""

    def __init__(self, say: Callable[[str], None], interruption: Interruption) -> None:
        self._say = say
        self._interruption = interruption

    def until_done(self, what: str, action: Callable[[], _Answer]) -> _Answer:
        """Return the answer of `action`, which may be repeated. Raises what no waiting mends, such as InvalidJob."""
        reasons: set[str] = set()
        denied_since: float | None = None
        for pause in _PAUSES:
            try:
                with self._interruption.defer():
                    answer = action()
            except _PASSING as exc:
                denied_since = _denied_since(exc, denied_since)
                reason = explain(exc)
            else:
                if reasons:
                    self._say(f"{what}: goes on")
                return answer
            if reason not in reasons:
                self._say(f"{what}: waits, because {reason}")
                reasons.add(reason)
            time.sleep(pause)
        raise AssertionError("the pauses never end")


def explain(error: LyftLearnError) -> str:
    """Return an error in one line without secrets."""
    return printable(redact(str(error)))


def _denied_since(error: LyftLearnError, since: float | None) -> float | None:
    """Return since when nothing but denials were heard; raise one that has lasted."""
    if not isinstance(error, AccessDenied):
        return None
    now = time.monotonic()
    if since is not None and now - since > _SECONDS_DENIED:
        raise error
    return since or now
