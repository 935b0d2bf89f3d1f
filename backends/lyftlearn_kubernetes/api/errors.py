"""What a cluster answers, as errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError, QuotaExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISSING_PERMISSION = r"cannot (?P<verb>\w+) resource \"(?P<resource>[^\"]+)\""
# Webhooks and ValidatingAdmissionPolicies, as k8s.io/apiserver words their refusals.
_ADMISSION = "admission webhook|ValidatingAdmissionPolicy|violates PodSecurity"
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE, BUSY, SERVERS_FAULT = 401, 403, 404, 409, 410, 429, 500
# Statuses with which an API server says that it has not done what was asked; all others leave a doubt.
_DEFINITE = frozenset((400, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, 405, CONFLICT, GONE, 413, 415, 422, BUSY))


class ApiError(Exception):
    """The API server answered with a Status object, and the answer is no.

    maybe_applied: an earlier try of the same request had no answer, and may have been carried out. resume: where a list
    goes on whose earlier pages are of a time that the server has forgotten. about: the name of the object in question.
    retry_after: seconds after which the server wants to be asked again.
    """

    def __init__(self, status: int, reason: str, message: str, resume: str = "", about: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.resume = resume
        self.about = about
        self.maybe_applied = False
        self.retry_after = 0.0

    @property
    def definite(self) -> bool:
        """Whether the request was certainly not carried out by the try that was answered like this."""
        return self.status in _DEFINITE

    @property
    def retryable(self) -> bool:
        """Whether the same request may be granted a moment later. A server that starts does not know all kinds yet."""
        passing = self.status == BUSY or (self.status == CONFLICT and not self.already_exists)
        return passing or not self.definite or (self.status == NOT_FOUND and not self.about)

    @property
    def is_denied(self) -> bool:
        """Whether a permission or a login is missing, which a server also says for a while after its start."""
        return self.status == UNAUTHORIZED or bool(
            self.status == FORBIDDEN and re.search(_MISSING_PERMISSION, self.message)
        )

    @property
    def starting(self) -> bool:
        """Whether the server says itself that it does not know all Roles yet."""
        return self.is_denied and "RBAC: " in self.message and "not found" in self.message

    @property
    def already_exists(self) -> bool:
        """Whether an object of this name is there. Other conflicts, such as of a quota, pass."""
        return self.status == CONFLICT and self.reason == "AlreadyExists"

    def says_missing(self, name: str) -> bool:
        """Whether the object of this name is not there; a server that does not know the kind yet says less."""
        return self.status == NOT_FOUND and self.about == name


class NoResponse(Exception):
    """No answer of the API came.

    sent: whether the request may have been carried out all the same. busy: whether somebody on the way had too much to
    do, as the API server's own queues say without a body. retry_after: as of an ApiError.
    """

    def __init__(self, message: str, *, sent: bool, busy: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.busy = busy
        self.retry_after = 0.0


def error_of_answer(status: int, body: Any, text: str) -> ApiError | NoResponse:
    """Return what an answer other than success says: nothing, unless it has the API's own body."""
    if not isinstance(body, dict) or body.get("kind") != "Status":
        excerpt = " ".join(text.split())[:300]
        return NoResponse(
            f"whoever answered with status {status} is not the API: {excerpt}", sent=True, busy=status == BUSY
        )
    resume = (body.get("metadata") or {}).get("continue") or ""
    about = (body.get("details") or {}).get("name") or ""
    return ApiError(status, body.get("reason") or "", body.get("message") or f"status {status}", resume, about)


@contextmanager
def translate_errors(doing: str, *, job_id: str | None = None) -> Iterator[None]:
    """Turn what the cluster says into the error tree. job_id: the job that may have been accepted if no answer came."""
    try:
        yield
    except ApiError as exc:
        raise lyftlearn_error(exc, doing, job_id) from exc
    except NoResponse as exc:
        message = f"the Kubernetes API gave no answer while {doing}: {exc}"
        raise BackendUnavailable(message, job_id if exc.sent else None) from exc


def lyftlearn_error(error: ApiError, doing: str, job_id: str | None = None) -> LyftLearnError:
    """Return the error for a refusal."""
    if error.retryable or error.status == GONE:
        maybe = job_id if error.maybe_applied or not error.definite else None
        return BackendUnavailable(f"the Kubernetes API could not go on with {doing}: {error.message}", maybe)
    makers = {UNAUTHORIZED: _unauthorized_error, FORBIDDEN: _forbidden_error, NOT_FOUND: _not_found_error}
    return makers.get(error.status, _invalid_error)(error, doing)


def _unauthorized_error(error: ApiError, doing: str) -> LyftLearnError:
    return AccessDenied(f"the cluster does not know who asks (while {doing}): log in again. It says: {error.message}")


def _forbidden_error(error: ApiError, doing: str) -> LyftLearnError:
    missing = re.search(_MISSING_PERMISSION, error.message)
    if missing:
        lacking = f"the verb {missing['verb']!r} on {missing['resource']}"
        return AccessDenied(f"{lacking} is not granted (while {doing}): {error.message}")
    if "exceeded quota" in error.message:
        return QuotaExceeded(f"the namespace's quota does not allow {doing}: {error.message}")
    return AccessDenied(f"the cluster's admission refuses {doing}: {error.message}")


def _not_found_error(error: ApiError, doing: str) -> LyftLearnError:
    if "namespace" in error.message:
        problem = f"{error.message}: name one that exists, in [kubernetes] or in the kubeconfig"
        return InvalidJob([("kubernetes.namespace", problem)])
    return LyftLearnError(f"{doing}: {error.message}")


def _invalid_error(error: ApiError, doing: str) -> LyftLearnError:
    if re.search(_ADMISSION, error.message):
        return AccessDenied(f"the cluster's admission refuses {doing}: {error.message}")
    return InvalidJob([("kubernetes", f"the cluster does not take it ({doing}): {error.message}")])
