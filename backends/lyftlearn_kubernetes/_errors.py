"""What a cluster answers, in lyftlearn's words."""

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


class Refused(Exception):
    """The API server answered, and the answer is no.

    doubted: an earlier try of the same request had no answer, and may have been carried out. resume: where a list goes
    on whose earlier pages are of a time that the server has forgotten.
    """

    def __init__(self, status: int, reason: str, message: str, resume: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.resume = resume
        self.doubted = False

    @property
    def passing(self) -> bool:
        """Whether the same request may be granted a moment later."""
        return self.status == _BUSY or self.status >= SERVERS_FAULT


class Unanswered(Exception):
    """No answer came. sent: whether the request may have been carried out all the same."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def refusal(status: int, body: Any, text: str) -> Refused:
    """Return what an answer other than success says: a Status object, or whatever a proxy wrote."""
    if isinstance(body, dict) and body.get("kind") == "Status":
        resume = (body.get("metadata") or {}).get("continue") or ""
        return Refused(status, body.get("reason") or "", body.get("message") or f"status {status}", resume)
    return Refused(status, "", text.strip()[:300] or f"status {status}")


@contextmanager
def translated(doing: str, *, job_id: str | None = None) -> Iterator[None]:
    """Turn what the cluster says into the error tree. job_id: the job that may have been accepted if no answer came."""
    try:
        yield
    except Refused as exc:
        raise of_refusal(exc, doing, job_id) from exc
    except Unanswered as exc:
        message = f"the Kubernetes API gave no answer while {doing}: {exc}"
        raise BackendUnavailable(message, job_id if exc.sent else None) from exc


def of_refusal(refused: Refused, doing: str, job_id: str | None = None) -> LyftLearnError:
    """Return the error for a refusal."""
    if refused.passing:
        maybe = job_id if refused.doubted or refused.status >= SERVERS_FAULT else None
        return BackendUnavailable(f"the Kubernetes API could not go on with {doing}: {refused.message}", maybe)
    makers = {401: _unknown_caller, 403: _forbidden, 404: _not_there}
    return makers.get(refused.status, _not_valid)(refused, doing)


def _unknown_caller(refused: Refused, doing: str) -> LyftLearnError:
    return AccessDenied(f"the cluster does not know who asks (while {doing}): log in again. It says: {refused.message}")


def _forbidden(refused: Refused, doing: str) -> LyftLearnError:
    missing = _MISSING_PERMISSION.search(refused.message)
    if missing:
        lacking = f"the verb {missing['verb']!r} on {missing['resource']}"
        return AccessDenied(f"{lacking} is not granted (while {doing}): {refused.message}")
    if "exceeded quota" in refused.message:
        return QuotaExceeded(f"the namespace's quota does not allow {doing}: {refused.message}")
    return AccessDenied(f"the cluster's admission refuses {doing}: {refused.message}")


def _not_there(refused: Refused, doing: str) -> LyftLearnError:
    if "namespace" in refused.message:
        problem = f"{refused.message}: name one that exists, in [kubernetes] or in the kubeconfig"
        return InvalidJob([("kubernetes.namespace", problem)])
    return LyftLearnError(f"{doing}: {refused.message}")


def _not_valid(refused: Refused, doing: str) -> LyftLearnError:
    if "admission webhook" in refused.message:
        return AccessDenied(f"the cluster's admission refuses {doing}: {refused.message}")
    return InvalidJob([("kubernetes", f"the cluster does not take it ({doing}): {refused.message}")])
