"""Waiting that may last for ever, and when it has lasted long enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lyftlearn.types import FailureReason
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.status import jobs, observed
from lyftlearn_kubernetes.status.events import current_pods

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

IMAGE_ERRORS = frozenset(("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"))
HOPELESS_IMAGE_ERRORS = frozenset(("InvalidImageName", "ErrImageNeverPull"))
CONFIGURATION_ERRORS = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))
_NO_SECRET = re.compile(r'secret "([^"]+)" not found')  # kubelet, of an `envFrom` that is not there
Verdict = tuple[FailureReason, str]


class DeadlineEnforcer:
    """Ends jobs whose waiting has lasted too long."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options

    def end_if_overdue(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> ObservedJob:
        """Return the job, ended by a patch if it has waited too long."""
        verdict = missed_deadline(job, pods, self._options, jobs.now())
        if verdict is None and lacks_pods_too_long(job, pods, self._options, jobs.now()):
            verdict = self._why_no_pods(job)
        if verdict is None:
            return job
        reason, message = verdict
        words = labels.compact_json({"reason": str(reason), "message": message[:1000]})
        with translate_errors("ending jobs"):
            return observed.job(self._cluster.patch(JOBS, job.id, jobs.end_patch({labels.VERDICT: words})))

    def _why_no_pods(self, job: ObservedJob) -> Verdict | None:
        warnings = jobs.warnings_about(self._cluster, [job.id])
        if not warnings:
            return None
        reason = FailureReason.CAPACITY if "quota" in warnings else FailureReason.CONFIGURATION
        return reason, f"no pod can be made: {warnings}"


def missed_deadline(job: ObservedJob, pods: Sequence[ObservedPod], options: Options, now: datetime) -> Verdict | None:
    """Return why `job` should wait no longer, or None."""
    if job.finished or job.suspended or job.stop is not None or job.verdict is not None:
        return None
    verdicts = (_missed_by_pod(pod, options, now) for pod in current_pods(pods))
    return next((verdict for verdict in verdicts if verdict), None)


def lacks_pods_too_long(job: ObservedJob, pods: Sequence[ObservedPod], options: Options, now: datetime) -> bool:
    """Whether `job` has had no pod for so long that something must forbid them, which only Events tell."""
    waiting = not (pods or job.finished or job.suspended or job.stop is not None or job.verdict is not None)
    return waiting and now - job.created_at > options.starting


def _missed_by_pod(pod: ObservedPod, options: Options, now: datetime) -> Verdict | None:
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
        return FailureReason.CONFIGURATION, _translate_failure(reason, message)
    if waited > options.pending:
        return FailureReason.CONFIGURATION, f"its container did not start within {options.pending}: {reason} {message}"
    return None


def _translate_failure(reason: str, message: str) -> str:
    """A secret that is not there is told as every other substrate tells it."""
    missing = _NO_SECRET.fullmatch(message)
    return f"secrets: {missing[1]}: there is no such secret" if missing else f"{reason}: {message}"
