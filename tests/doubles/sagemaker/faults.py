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


class Raw(Exception):
    """Bytes that come instead of AWS's answer; then the connection is closed."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer[:40])
        self.answer = answer


def page(status: int, text: str = "<html><body>gateway</body></html>", kind: str = "text/html") -> Raw:
    """Return the page that a proxy, a load balancer or a captive portal answers with."""
    head = f"HTTP/1.1 {status} Page\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return Raw(f"{head}{text}".encode())


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
EXPIRED = Refused("ExpiredTokenException", "The security token included in the request is expired")
AFTERWARDS = {
    "dropped": Dropped(),
    "500": BROKEN.error,
    "408": Refused("RequestTimeoutException", "the request took too long", 408),
    "page 403": page(403),
    "page 404": page(404),
    "page 502": page(502),
    "plain 400": page(400, "Bad Request", "text/plain"),
    "empty 403": page(403, ""),
    "json of a proxy": page(407, '{"error": "proxy authentication required"}', "application/json"),
    "portal": page(200, "<html>please log in</html>"),
    "empty": page(200, ""),
    "cut": Raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"TrainingJobArn": "arn:aws'),
    "garbage": Raw(b"\x15\x03\x01\x00\x02\x02\x46 no HTTP\r\n\r\n"),
    "no headers": Raw(b"HTTP/1.1 200 OK\r\n"),
}
"""Answers that leave the request's fate open, whether AWS carried it out or not."""
REFUSALS = {
    "denied": Refused("AccessDeniedException", "User: arn:aws:iam::123456789012:user/x is not authorized"),
    "expired": EXPIRED,
    "signature": Refused("InvalidSignatureException", "Signature expired", 403),
    "unknown token": Refused("UnrecognizedClientException", "The security token is invalid"),
    "opt-in": Refused("OptInRequired", "not subscribed", 403),
    "validation": Refused("ValidationException", "1 validation error detected"),
    "missing": Refused("ResourceNotFound", "no such thing", 404),
    "not found": Refused("ValidationException", "Requested resource not found."),
    "quota": Refused("ResourceLimitExceeded", "The account-level service limit 'x' is 0 Instances"),
    "role": Refused("ValidationException", "Could not assume role x"),
    "conflict": Refused("ConflictException", "busy", 409),
    "unknown": Refused("UnknownOperationException", "", 404),
    "serialization": Refused("SerializationException", ""),
}
"""Answers of AWS that are refusals, where they come first."""
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
