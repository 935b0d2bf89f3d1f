"""What went wrong with a request to AWS, and how that is told to users.

`AwsClient.call` raises `AwsError`, so that callers can match on its code. The backend's public methods translate it:
with `translate_errors(...)` no error of AWS leaves the backend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from lyftlearn.backend import Fault
from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, JobNotFound, LyftLearnError, QuotaExceeded

_DENIED = frozenset((
    "AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken",
    "ExpiredTokenException", "SignatureDoesNotMatch", "NotAuthorized", "OptInRequired", "UnauthorizedOperation",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature",
    "IncompleteSignatureException", "InvalidSignatureException", "RequestExpired", "NoCredentials",
))  # fmt: skip
_MISSING = frozenset((
    "ResourceNotFound", "ResourceNotFoundException", "NoSuchEntity", "NoSuchEntityException", "NoSuchBucket",
    "RepositoryNotFoundException", "ImageNotFoundException", "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
))  # fmt: skip
_MISCONFIGURED = frozenset(("NoRegion", "BadEndpoint"))
_CONSTRAINT = re.compile(r"at '([A-Za-z0-9_.\[\]]+)' failed to satisfy constraint: ([^;\n]{1,300})")
_QUOTA = re.compile(r"service limit '([^']+)'")


class Kind(StrEnum):
    """What is known of a request that failed.

    REFUSED: AWS answered that it will not do it. THROTTLED: AWS answered that it has not done it yet. UNSENT: the
    request never left this machine, or never arrived. UNANSWERED: AWS may have done it. Whatever is not certainly one
    of the others is this.
    """

    REFUSED = "refused"
    THROTTLED = "throttled"
    UNSENT = "unsent"
    UNANSWERED = "unanswered"


class AwsError(Exception):
    """One request failed, after all its repetitions.

    code: AWS's, or a name for what happened instead of an answer. maybe_applied: AWS may have done what was asked for,
    in this try or an earlier one. The message never contains a value that a user wrote.
    """

    def __init__(self, operation: str, code: str, message: str, kind: Kind, *, maybe_applied: bool = False) -> None:
        super().__init__(f"{operation}: {code}: {message}" if code else f"{operation}: {message}")
        self.code = code
        self.message = message
        self.kind = kind
        self.maybe_applied = maybe_applied or kind is Kind.UNANSWERED

    @property
    def is_missing(self) -> bool:
        """Whether AWS says that there is no such thing."""
        absent = "Requested resource not found" in self.message or "does not exist" in self.message
        return self.code in _MISSING or (self.code == "ValidationException" and absent)

    @property
    def is_misconfiguration(self) -> bool:
        """Whether nothing can be sent before somebody changes the configuration of AWS."""
        return self.code in _MISCONFIGURED

    @property
    def is_denied(self) -> bool:
        """Whether AWS says that the caller, or the job's role, may not."""
        return self.code in _DENIED or "ould not assume role" in self.message


@contextmanager
def translate_errors(job_id: str | None = None) -> Iterator[None]:
    """Raise errors of lyftlearn instead of AwsError. job_id: the job that is asked about."""
    try:
        yield
    except AwsError as exc:
        raise translate(exc, job_id) from exc.__cause__


def translate(error: AwsError, job_id: str | None = None) -> LyftLearnError:
    """Return the error of lyftlearn that says the same."""
    if error.is_missing and job_id:
        return JobNotFound(f"{job_id}: SageMaker has no such job")
    if error.is_denied:
        return AccessDenied(str(error))
    if error.code in _BY_CODE:
        return _BY_CODE[error.code](error.message)
    if error.kind is not Kind.REFUSED:
        return BackendUnavailable(str(error), job_id if error.maybe_applied else None)
    return LyftLearnError(str(error))


def constraints(message: str) -> list[tuple[str, str]]:
    """Return each member that a validation error names, and the constraint that it breaks."""
    return _CONSTRAINT.findall(message)


def _quota_exceeded(message: str) -> QuotaExceeded:
    match = _QUOTA.search(message)
    name = f"the quota {match[1]!r}" if match else "a quota"
    return QuotaExceeded(f"{name} of this account is used up: {message}")


def _refused_by_batch(message: str) -> InvalidJob:
    return InvalidJob([Fault("sagemaker.queue", f"AWS Batch refuses the job: {message}")])


def _invalid(message: str) -> InvalidJob:
    match = _CONSTRAINT.search(message)
    return InvalidJob([(f"sagemaker.{match[1]}" if match else "sagemaker", message)])


_BY_CODE: Mapping[str, Callable[[str], LyftLearnError]] = {
    "ResourceLimitExceeded": _quota_exceeded,
    "ValidationException": _invalid,
    "ClientException": _refused_by_batch,
    "NoRegion": LyftLearnError,
    "BadEndpoint": LyftLearnError,
}
