"""Every request to AWS but those to S3: clients, repetition, and what each answer means.

botocore's own repetition is switched off, so that one budget holds and a repeated create is known to be one.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from lyftlearn.backend import Backoff, aws_session, recording, timed_request
from lyftlearn_sagemaker.api.errors import AwsError, Kind

AGENT = "lyftlearn-sagemaker"
_SOMETIMES_ABSENT = frozenset(("startedAt",))
"""What Batch's model calls required of a job, and a job that has not started does not have."""
_PAUSES = Backoff(0.3, 15.0)
_SUCCESS = range(200, 300)
_CLOCK = timedelta(seconds=5)  # by which clocks that agree may seem to differ: a date has whole seconds, and travels


@dataclass
class RetryBudget:
    """Seconds for which a request is repeated: while it is throttled, and while it is not answered."""

    throttled: float = 90.0
    unanswered: float = 15.0

    def seconds(self, kind: Kind) -> float:
        """Return for how long an error of this kind is worth another try."""
        return {Kind.THROTTLED: self.throttled, Kind.REFUSED: 0.0}.get(kind, self.unanswered)


ONCE = RetryBudget(0, 0)
"""For those who have something else to do in the meantime."""


class AwsClient:
    """The clients of one backend, made when they are first needed. A child process makes its own."""

    def __init__(self, region: str | None) -> None:
        self.retry_budget = RetryBudget()
        self._region = region
        self._ahead = timedelta()
        self._forget()

    def now(self) -> datetime:
        """Return AWS's time, as of its last answer; this machine's before the first."""
        return datetime.now(UTC) + self._ahead

    def client(self, service: str) -> Any:
        """Return the client for `service`. Credentials and endpoints come from the default AWS chain."""
        if self._pid != os.getpid():
            self._forget()
        with self._lock:
            if service not in self._clients:
                self._clients[service] = _client(service, self._region)
            return self._clients[service]

    def impatient(self) -> AwsClient:
        """Return one over the same clients that sends each request once."""
        other = copy.copy(self)
        other.retry_budget = ONCE
        return other

    @property
    def region(self) -> str:
        """The region of the clients."""
        region: str = self.client("sagemaker").meta.region_name
        return region

    def knows(self, service: str, shape: str) -> bool:
        """Whether the installed boto3 has a shape in its model of a service."""
        return shape in self.client(service).meta.service_model.shape_names

    def call(self, service: str, operation: str, request: dict[str, Any], *, budget: RetryBudget | None = None) -> Any:
        """Send a request until it is answered or the budget is spent, by default the client's. Raises AwsError."""
        client = self.client(service)
        attempts = _Attempts(budget or self.retry_budget)
        while True:
            outcome = _send(client, operation, request)
            if outcome.error is None:
                self._note_time(outcome.answer)
                return outcome.answer
            if not attempts.may_repeat(outcome.error):
                outcome.error.maybe_applied = attempts.maybe_applied
                raise outcome.error from outcome.cause

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        at = server_time(answer)
        if at is not None:
            ahead = at - datetime.now(UTC)
            self._ahead = ahead if abs(ahead) > _CLOCK else timedelta()

    def _forget(self) -> None:
        """Start without clients: connections of a parent process must not be shared, nor its lock waited for."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}


@dataclass(frozen=True)
class _Outcome:
    """What came of sending a request once: an answer, or an error and its cause."""

    answer: Any = None
    error: AwsError | None = None
    cause: BaseException | None = None


def _send(client: Any, operation: str, request: dict[str, Any]) -> _Outcome:
    """Send a request once. Raises only what is no matter of the request: a fault of the code around it.

    An error is returned, not raised, so that nothing unread is chained to what is raised in the end: it may quote what
    users wrote.
    """
    from lyftlearn_sagemaker.api.botocore_errors import error_of, is_about_request  # noqa: PLC0415 - loads botocore

    try:
        with timed_request("sagemaker", operation):
            answer = getattr(client, operation)(**request)
    except Exception as exc:
        if not is_about_request(exc):
            raise
        error, cause = error_of(exc, operation, request)
        response = getattr(exc, "response", None) or {}  # None where no answer came
        _record(client, operation, request, {"error": response.get("Error", {"Code": error.code})})
        return _Outcome(error=error, cause=cause)
    _record(client, operation, request, {"answer": answer})
    if not _required_members(client, operation) <= answer.keys():
        return _Outcome(error=AwsError(operation, "", "something between here and AWS answered", Kind.UNANSWERED))
    return _Outcome(answer)


def server_time(answer: Mapping[str, Any]) -> datetime | None:
    """Return AWS's time of an answer; None where a proxy has taken the header away, or has written nonsense there."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        at = parsedate_to_datetime(date) if date else None
    except (TypeError, ValueError):
        return None
    return at and at.replace(tzinfo=at.tzinfo or UTC)


def _record(client: Any, operation: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    if recording.is_on():
        service = client.meta.service_model.service_name
        recording.keep("sagemaker", {"service": service, "operation": operation, "request": request}, answer)


def _required_members(client: Any, operation: str) -> frozenset[str]:
    """Return what an answer of AWS always has: a captive portal's page is parsed as an answer without members."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    required = frozenset(model.output_shape.required_members if model.output_shape else ())
    return required - _SOMETIMES_ABSENT


class _Attempts:
    """Whether one request may be sent again, and what is known of those before."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._began = time.monotonic()
        self._pauses = iter(_PAUSES)
        self.maybe_applied = False

    def may_repeat(self, error: AwsError) -> bool:
        """Sleep and return True if another try is worth it after this error."""
        self.maybe_applied = self.maybe_applied or error.maybe_applied
        pause = next(self._pauses)
        if time.monotonic() + pause > self._began + self._budget.seconds(error.kind):
            return False
        time.sleep(pause)
        return True


def _client(service: str, region: str | None) -> Any:
    """Return a client, or raise AwsError for what is wrong with the configuration of AWS."""
    from botocore.config import Config  # noqa: PLC0415 - 100 ms that planning need not pay

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=32,
        user_agent_extra=AGENT,
        parameter_validation=False,  # every request here is our own, and plans are checked against the whole model
    )
    doing = f"a client for {service}"
    from lyftlearn_sagemaker.api.botocore_errors import error_of, is_about_request  # noqa: PLC0415

    try:
        client = aws_session(region).create_client(service, config=config)
    except ValueError as exc:  # the only word that botocore has for an endpoint that is no URL
        raise _endpoint_error(service, doing) from exc
    except Exception as exc:
        if not is_about_request(exc):
            raise
        error, cause = error_of(exc, doing, {})
        raise error from cause
    if not _is_url(client.meta.endpoint_url):
        raise _endpoint_error(service, doing)
    if "json" in client.meta.service_model.metadata["protocol"]:
        client.meta.events.register("after-call", _check_origin)
    return client


def _check_origin(http_response: Any, model: Any, **_: Any) -> None:
    """Raise for a page with status 200: botocore reads it as an answer in which nothing stands."""
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - as above

    content = http_response.content.lstrip()
    expects_content = model.output_shape is not None and bool(model.output_shape.members)
    if http_response.status_code in _SUCCESS and (content or expects_content) and not content.startswith(b"{"):
        problem = "something between here and AWS answered"
        raise ResponseParserError(problem)


def _is_url(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _endpoint_error(service: str, doing: str) -> AwsError:
    """Say where the endpoint was configured. Its value may hold a password, so it is not shown."""
    names = (f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}", "AWS_ENDPOINT_URL")
    place = next((name for name in names if os.environ.get(name)), "endpoint_url in the AWS configuration file")
    message = f"{place} is no URL of a server: write one such as https://host:port, or remove it"
    return AwsError(doing, "BadEndpoint", message, Kind.UNSENT)
