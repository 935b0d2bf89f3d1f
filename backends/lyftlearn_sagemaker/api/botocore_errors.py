"""From botocore's exceptions to AwsError.

The question that decides is whether AWS may have done what was asked for. What certainly did not happen is listed here;
everything else may have: an error that nobody thought of must never start a job twice.

SageMaker's validation errors quote the whole map that a wrong value stands in. Nothing that a user wrote is repeated
from them: neither in the message nor in the cause, which is a copy of the vendor's error without it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any

from botocore import exceptions as vendor
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError  # what a proxy's page of HTML becomes

from lyftlearn.backend import redaction
from lyftlearn_sagemaker.api.errors import AwsError, Kind, constraints

_THROTTLED = frozenset((
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "RequestThrottled", "RequestThrottledException", "SlowDown", "BandwidthLimitExceeded", "LimitExceededException",
    "ProvisionedThroughputExceededException", "TransactionInProgressException", "EC2ThrottledException",
))  # fmt: skip
_LATE = frozenset(("RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"))
"""Answers below 500 that do not tell whether the request was carried out (botocore repeats them as transient)."""
_AWS_CODE = re.compile(r"[A-Za-z][\w.]*")
"""What AWS writes as an error's code. A proxy's page has none, and botocore puts the HTTP status in its place."""

_NO_CREDENTIALS = (
    vendor.NoCredentialsError, vendor.PartialCredentialsError, vendor.CredentialRetrievalError,
    vendor.MetadataRetrievalError, vendor.NoAuthTokenError, vendor.TokenRetrievalError, vendor.SSOError,
    vendor.LoginError, vendor.ProfileNotFound, vendor.RefreshWithMFAUnsupportedError,
)  # fmt: skip
_UNSENT = (
    *_NO_CREDENTIALS, vendor.EndpointConnectionError, vendor.ConnectTimeoutError, vendor.BaseEndpointResolverError,
    vendor.EndpointProviderError, vendor.ValidationError, vendor.ParamValidationError, vendor.InvalidProxiesConfigError,
    vendor.DataNotFoundError, vendor.ConfigNotFound, vendor.ConfigParseError, vendor.MissingDependencyException,
    vendor.InvalidConfigError, vendor.InvalidEndpointConfigurationError, vendor.InvalidDefaultsMode,
)  # fmt: skip
"""Raised before a request is written to a connection."""
_HEAD_CODES = {"403": "AccessDenied", "404": "ResourceNotFound"}
"""What an answer means that has no body because the request was HEAD."""
_HIDDEN = "[hidden]"
_SHORTEST_HIDDEN = 4  # hiding every `1` would leave nothing to read


def error_of(exc: Exception, operation: str, request: dict[str, Any]) -> tuple[AwsError, BaseException]:
    """Return what an exception of `operation` means, and its cause, which quotes nothing of `request`."""
    if isinstance(exc, ClientError):
        redacted = _redact(exc, request)
        return AwsError(operation, _code(redacted), _message(redacted), _kind_of_answer(redacted)), redacted
    if isinstance(exc, vendor.NoRegionError):
        return AwsError(operation, "NoRegion", "set [sagemaker] region, or AWS_REGION", Kind.UNSENT), exc
    if isinstance(exc, _NO_CREDENTIALS):
        # It may quote what a `credential_process` printed.
        cause = redaction.redact_causes(exc, redaction.redact_output)
        message = f"there are no AWS credentials ({cause}): set up the default AWS chain"
        return AwsError(operation, "NoCredentials", message, Kind.UNSENT), cause
    kind = _kind_of_silence(exc)
    return AwsError(operation, "", f"AWS cannot be reached: {exc}", kind), redaction.redact_causes(exc)


def _kind_of_answer(error: ClientError) -> Kind:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status == 429:
        return Kind.THROTTLED
    from_aws = _AWS_CODE.fullmatch(code) is not None and code not in _LATE
    return Kind.REFUSED if from_aws and 400 <= status < 500 else Kind.UNANSWERED


def _kind_of_silence(exc: Exception) -> Kind:
    if isinstance(exc, _UNSENT) or _is_untrusted(exc):
        return Kind.UNSENT
    return Kind.UNANSWERED


def _is_untrusted(exc: BaseException | None) -> bool:
    """Whether the server's certificate was not trusted: that ends the handshake, before any request is written."""
    chain: set[int] = set()
    while exc is not None and id(exc) not in chain:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        chain.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return False


def is_about_request(exc: Exception) -> bool:
    """Whether an exception is about a request, and no fault of the code around it."""
    return isinstance(exc, ClientError | BotoCoreError | ResponseParserError | OSError)


def _code(error: ClientError) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return _HEAD_CODES.get(code, code) if error.operation_name.startswith("Head") else code


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def _redact(error: ClientError, request: dict[str, Any]) -> ClientError:
    """Return a copy without what users wrote."""
    message = _message(error)
    broken = constraints(message)
    if broken:
        message = "; ".join(f"{_HIDDEN} at '{path}' failed to satisfy constraint: {rule}" for path, rule in broken)
    if _code(error) == "ValidationException":
        for text in sorted(_user_texts(request), key=len, reverse=True):
            message = message.replace(text, _HIDDEN)
    response: Any = {**error.response, "Error": {**error.response.get("Error", {}), "Message": message}}
    response.pop("message", None)
    return ClientError(response, error.operation_name)


def _user_texts(request: dict[str, Any]) -> Iterator[str]:
    """Yield the values of a create that users wrote: no others stand in it."""
    for value in request.get("HyperParameters", {}).values():
        yield from (text for text in (value, value.strip('"')) if len(text) >= _SHORTEST_HIDDEN)
