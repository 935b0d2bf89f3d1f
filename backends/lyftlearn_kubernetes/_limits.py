"""Waiting that may last for ever, and when it has lasted long enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lyftlearn.types import FailureReason
from lyftlearn_kubernetes._state import newest_of_each_node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lyftlearn_kubernetes._observed import ObservedJob, ObservedPod
    from lyftlearn_kubernetes._options import Options

IMAGE_ERRORS = frozenset(("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"))
HOPELESS_IMAGE_ERRORS = frozenset(("InvalidImageName", "ErrImageNeverPull"))
CONFIGURATION_ERRORS = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))
_NO_SECRET = re.compile(r'secret "([^"]+)" not found')  # kubelet, of an `envFrom` that is not there
Verdict = tuple[FailureReason, str]


def overdue(job: ObservedJob, pods: Sequence[ObservedPod], options: Options, now: datetime) -> Verdict | None:
    """Return why `job` should wait no longer, or None."""
    if job.finished or job.suspended or job.stop is not None or job.verdict is not None:
        return None
    verdicts = (_overdue_pod(pod, options, now) for pod in newest_of_each_node(pods))
    return next((verdict for verdict in verdicts if verdict), None)


def podless(job: ObservedJob, pods: Sequence[ObservedPod], options: Options, now: datetime) -> bool:
    """Whether `job` has had no pod for so long that something must forbid them, which only Events tell."""
    waiting = not (pods or job.finished or job.suspended or job.stop is not None or job.verdict is not None)
    return waiting and now - job.created_at > options.starting


def _overdue_pod(pod: ObservedPod, options: Options, now: datetime) -> Verdict | None:
    if pod.started_at is not None or pod.ended:
        return None
    if pod.scheduled_at is None:
        late = now - pod.created_at > options.pending
        return (FailureReason.CAPACITY, f"no place within {options.pending}: {pod.unscheduled}") if late else None
    reason, message = pod.waiting or ("", "")
    waited = now - pod.scheduled_at
    if reason in HOPELESS_IMAGE_ERRORS or (reason in IMAGE_ERRORS and waited > options.starting):
        return FailureReason.IMAGE, f"{reason}: {message}"
    if reason in CONFIGURATION_ERRORS and waited > options.starting:
        return FailureReason.CONFIGURATION, _in_our_words(reason, message)
    if waited > options.pending:
        return FailureReason.CONFIGURATION, f"its container did not start within {options.pending}: {reason} {message}"
    return None


def _in_our_words(reason: str, message: str) -> str:
    """A secret that is not there is told as every other substrate tells it."""
    missing = _NO_SECRET.fullmatch(message)
    return f"secrets: {missing[1]}: there is no such secret" if missing else f"{reason}: {message}"
