"""Vendor errors in lyftlearn's words.

SageMaker's validation errors quote the whole map that a wrong value stands in. Nothing that a user wrote is repeated
from them: neither in the message nor in the cause, which is a copy of the vendor's error without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError  # what a proxy's page of HTML becomes

from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, JobNotFound, LyftLearnError, QuotaExceeded

_THROTTLED = frozenset((
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "RequestThrottled", "SlowDown", "BandwidthLimitExceeded", "LimitExceededException", "PriorRequestNotComplete",
))  # fmt: skip
_DENIED = frozenset((
    "AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken",
    "ExpiredTokenException", "SignatureDoesNotMatch", "NotAuthorized", "OptInRequired", "UnauthorizedOperation",
    "MissingAuthenticationToken", "IncompleteSignature",
))  # fmt: skip
_MISSING = frozenset(("ResourceNotFound", "ResourceNotFoundException"))
_CONSTRAINT = re.compile(r"at '([A-Za-z0-9_.\[\]]+)' failed to satisfy constraint: ([^;\n]{1,300})")
_QUOTA = re.compile(r"service limit '([^']+)'")
_HIDDEN = "[hidden]"
_SHORTEST_HIDDEN = 4  # hiding every `1` would leave nothing to read


def code_of(error: Exception) -> str:
    """Return the vendor's code of an error, or an empty text."""
    response = error.response if isinstance(error, ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))


def kind_of(error: Exception) -> str:
    """Return `throttled`, `unreachable` (it never arrived), `unanswered` (it may have), or `refused`."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code_of(error) in _THROTTLED or status == 429:
            return "throttled"
        return "unanswered" if status >= 500 else "refused"
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return "unreachable"
    return "unanswered" if isinstance(error, HTTPClientError | ResponseParserError) else "refused"


def translated(
    error: Exception, operation: str, request: dict[str, Any], job_id: str | None, *, ambiguous: bool
) -> tuple[Exception, Exception | None]:
    """Return what to raise, and its cause. What is no error of AWS is returned as it is."""
    if isinstance(error, ClientError):
        redacted = _redacted(error, request)
        return _of_client_error(redacted, operation, job_id, ambiguous=ambiguous), redacted
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessDenied(f"there are no AWS credentials ({error}): set up the default AWS chain"), error
    if isinstance(error, NoRegionError):
        return LyftLearnError("no AWS region is set: set [sagemaker] region, or AWS_REGION"), error
    if isinstance(error, BotoCoreError | ResponseParserError):
        unknown = job_id if ambiguous or kind_of(error) == "unanswered" else None
        return BackendUnavailable(f"SageMaker cannot be reached for {operation}: {error}", unknown), error
    return error, error.__cause__ if isinstance(error.__cause__, Exception) else None


def is_missing(error: Exception) -> bool:
    """Whether the vendor says that there is no such thing."""
    said = str(error)
    not_found = "Requested resource not found" in said or "does not exist" in said
    return code_of(error) in _MISSING or (code_of(error) == "ValidationException" and not_found)


def _of_client_error(error: ClientError, operation: str, job_id: str | None, *, ambiguous: bool) -> LyftLearnError:
    code, said = code_of(error), error.response.get("Error", {}).get("Message", "")
    message = f"{operation}: {code}: {said}"
    if is_missing(error) and job_id:
        return JobNotFound(f"{job_id}: SageMaker has no such job")
    if code in _DENIED or "ould not assume role" in said:
        return AccessDenied(message)
    if code == "ResourceLimitExceeded":
        return QuotaExceeded(_quota(said))
    if kind_of(error) != "refused":
        return BackendUnavailable(message, job_id if ambiguous else None)
    if code == "ValidationException":
        return InvalidJob([(_path(said), said)])
    return LyftLearnError(message)


def _quota(said: str) -> str:
    match = _QUOTA.search(said)
    name = f"the quota {match[1]!r}" if match else "a quota"
    return f"{name} of this account is used up: {said}"


def _path(said: str) -> str:
    match = _CONSTRAINT.search(said)
    return f"sagemaker.{match[1]}" if match else "sagemaker"


def _redacted(error: ClientError, request: dict[str, Any]) -> ClientError:
    """Return a copy without what users wrote."""
    said = str(error.response.get("Error", {}).get("Message", ""))
    found = _CONSTRAINT.findall(said)
    if found:
        said = "; ".join(f"{_HIDDEN} at '{path}' failed to satisfy constraint: {rule}" for path, rule in found)
    if code_of(error) == "ValidationException":
        for text in sorted(_user_texts(request), key=len, reverse=True):
            said = said.replace(text, _HIDDEN)
    response: Any = {**error.response, "Error": {**error.response.get("Error", {}), "Message": said}}
    response.pop("message", None)
    return ClientError(response, error.operation_name)


def _user_texts(request: dict[str, Any]) -> Iterator[str]:
    """Yield the values of a create that users wrote: no others stand in it."""
    for value in request.get("HyperParameters", {}).values():
        yield from (text for text in (value, value.strip('"')) if len(text) >= _SHORTEST_HIDDEN)
