"""Every request to AWS but those to S3: clients, repetition, and errors in lyftlearn's words.

botocore's own repetition is switched off, so that one budget holds and a repeated create is known to be one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lyftlearn_sagemaker._errors import kind_of, translated

AGENT = "lyftlearn-sagemaker"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


@dataclass
class Patience:
    """Seconds for which a request is repeated: while it is throttled, and while it is not answered."""

    throttled: float = 90.0
    unanswered: float = 15.0


class Calls:
    """The clients of one backend, made when they are first needed."""

    def __init__(self, region: str | None) -> None:
        self.patience = Patience()
        self._region = region
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """Return the client for `service`. Credentials and endpoints come from the default AWS chain."""
        with self._lock:
            if service not in self._clients:
                with _translating(f"cannot make a client for {service}"):
                    self._clients[service] = _client(service, self._region)
            return self._clients[service]

    @property
    def region(self) -> str:
        """The region of the clients."""
        region: str = self.client("sagemaker").meta.region_name
        return region

    def call(self, service: str, operation: str, request: dict[str, Any], *, job_id: str | None = None) -> Any:
        """Send a request until it is answered or patience ends. Raises errors of lyftlearn only.

        job_id: the job that is asked about.
        """
        send = getattr(self.client(service), operation)
        repeats = _Repeats(self.patience)
        while True:
            error = None
            try:
                return send(**request)
            except Exception as exc:  # noqa: BLE001 - sorted out below, where nothing unread is chained
                error = exc
            if not repeats.may(kind_of(error)):
                told, cause = translated(error, operation, request, job_id, ambiguous=repeats.ambiguous)
                raise told from cause


class _Repeats:
    """Whether one request may be sent again, and what is known of those before."""

    def __init__(self, patience: Patience) -> None:
        self._ends = {kind: time.monotonic() + seconds for kind, seconds in vars(patience).items()}
        self._pause = _FIRST_PAUSE
        self.ambiguous = False

    def may(self, kind: str) -> bool:
        """Sleep and return True if an error of this kind is worth another try in time."""
        self.ambiguous = self.ambiguous or kind == "unanswered"
        end = self._ends.get({"unreachable": "unanswered"}.get(kind, kind))
        pause = self._pause * random.uniform(0.5, 1.5)  # noqa: S311 - so that callers do not come back together
        if end is None or time.monotonic() + pause > end:
            return False
        time.sleep(pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True


@contextmanager
def _translating(doing: str) -> Iterator[None]:
    error = None
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - as above
        error = exc
    if error is not None:
        told, cause = translated(error, doing, {}, None, ambiguous=False)
        raise told from cause


def _client(service: str, region: str | None) -> Any:
    import boto3  # noqa: PLC0415 - 100 ms that planning need not pay
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=32,
        user_agent_extra=AGENT,
        parameter_validation=False,  # every request here is our own, and plans are checked against the whole model
    )
    session: Any = boto3.Session(region_name=region)  # typed for each of some 400 services by name
    return session.client(service, config=config)
