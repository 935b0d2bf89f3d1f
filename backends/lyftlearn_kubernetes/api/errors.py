"""What a cluster answers, as errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError, QuotaExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISSING_PERMISSION = re.compile(r"cannot (?P<verb>\w+) resource \"(?P<resource>[^\"]+)\"")
_BUSY = 429
SERVERS_FAULT = 500


class ApiError(Exception):
    """The API server answered, and the answer is no.

    maybe_applied: an earlier try of the same request had no answer, and may have been carried out. resume: where a list
    goes on whose earlier pages are of a time that the server has forgotten.
    """

    def __init__(self, status: int, reason: str, message: str, resume: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.resume = resume
        self.maybe_applied = False

    @property
    def retryable(self) -> bool:
        """Whether the same request may be granted a moment later."""
        return self.status == _BUSY or self.status >= SERVERS_FAULT


class NoResponse(Exception):
    """No answer came. sent: whether the request may have been carried out all the same."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def api_error(status: int, body: Any, text: str) -> ApiError:
    """Return what an answer other than success says: a Status object, or whatever a proxy wrote."""
    if isinstance(body, dict) and body.get("kind") == "Status":
        resume = (body.get("metadata") or {}).get("continue") or ""
        return ApiError(status, body.get("reason") or "", body.get("message") or f"status {status}", resume)
    return ApiError(status, "", text.strip()[:300] or f"status {status}")


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
    if error.retryable:
        maybe = job_id if error.maybe_applied or error.status >= SERVERS_FAULT else None
        return BackendUnavailable(f"the Kubernetes API could not go on with {doing}: {error.message}", maybe)
    makers = {401: _unauthorized_error, 403: _forbidden_error, 404: _not_found_error}
    return makers.get(error.status, _invalid_error)(error, doing)


def _unauthorized_error(error: ApiError, doing: str) -> LyftLearnError:
    return AccessDenied(f"the cluster does not know who asks (while {doing}): log in again. It says: {error.message}")


def _forbidden_error(error: ApiError, doing: str) -> LyftLearnError:
    missing = _MISSING_PERMISSION.search(error.message)
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
    if "admission webhook" in error.message:
        return AccessDenied(f"the cluster's admission refuses {doing}: {error.message}")
    return InvalidJob([("kubernetes", f"the cluster does not take it ({doing}): {error.message}")])
