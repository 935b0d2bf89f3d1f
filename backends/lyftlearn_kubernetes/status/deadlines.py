"""Waiting that may last for ever, and when it has lasted long enough."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import words
from lyftlearn.errors import LyftLearnError
from lyftlearn.types import FailureReason
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.options import DEFAULTS, Options
from lyftlearn_kubernetes.status import jobs, observed
from lyftlearn_kubernetes.status.events import current_pods, final_failure
from lyftlearn_kubernetes.status.observed import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.jobs import RefusedPods
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

RETRY_SECONDS = 60.0
LACKS_PEERS = "its queue took its place away when some of its nodes had ended, and those do not start anew"
_log = logging.getLogger("lyftlearn")
IMAGE_ERRORS = frozenset(("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"))
HOPELESS_IMAGE_ERRORS = frozenset(("InvalidImageName", "ErrImageNeverPull"))
CONFIGURATION_ERRORS = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')  # scheduler, of a volume of the pod
_NO_SECRET = re.compile(r'secret "([^"]+)" not found')  # kubelet, of an `envFrom` that is not there
Verdict = tuple[FailureReason, str]


class DeadlineEnforcer:
    """Ends jobs whose waiting has lasted too long, by their own limits and the server's clock.

    It also ends those that would fail again: Kubernetes knows exit codes only, and replaces some pods that failed.
    """

    def __init__(self, cluster: Cluster, options: Options, refused: RefusedPods) -> None:
        self._cluster = cluster
        self._refused = refused
        self._fallback = Limits(
            pending=max(options.pending, DEFAULTS.pending), starting=max(options.starting, DEFAULTS.starting)
        )
        """For jobs of version 1.0, which do not carry their limits."""
        self._left_alone: dict[str, float] = {}

    def end_if_overdue(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> ObservedJob:
        """Return the job, ended by a patch if it has waited too long. What fails with that concerns this job alone."""
        failure = final_failure(pods) if is_waiting(job) else None
        verdict = failure or self._verdict(job, pods)
        if verdict is None or self._left_alone.get(job.id, 0.0) > time.monotonic():
            return job
        patch = _end_patch(verdict, job.version if failure is None else 0)
        try:
            with translate_errors("ending jobs"):
                return observed.job(self._cluster.patch(JOBS, job.id, patch))
        except LyftLearnError as exc:  # it was deleted, it has just gone on, or ending it is not granted here
            self._left_alone[job.id] = time.monotonic() + RETRY_SECONDS
            _log.info("%s should end (%s) and could not be ended: %s", job.id, verdict[1], exc)
            return job

    def _verdict(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> Verdict | None:
        if not is_waiting(job):
            return None
        if lacks_peers(job, pods):
            return FailureReason.PREEMPTED, LACKS_PEERS
        limits, now = job.limits or self._fallback, self._cluster.now()
        if pods or now - job.active_since <= limits.starting:
            return missed_deadline(job, pods, limits, now)
        return verdict_without_pods(self._refused.refusal(job.id), now - job.active_since, limits)


def _end_patch(verdict: Verdict, version: int) -> dict[str, Any]:
    """Return the patch that ends a job; with a version, unless something has happened to it since."""
    reason, message = verdict
    words = labels.compact_json({"reason": str(reason), "message": message[:1000]})
    patch = jobs.end_patch({labels.VERDICT: words})
    if version:
        patch["metadata"]["resourceVersion"] = str(version)
    return patch


def is_waiting(job: ObservedJob) -> bool:
    """Whether limits apply: not to what has ended or is ending, nor to what its queue holds back."""
    return not (job.has_finished or job.suspended or job.stop is not None or job.verdict is not None)


def lacks_peers(job: ObservedJob, pods: Sequence[ObservedPod]) -> bool:
    """Whether nodes that were let go on wait for others that will not come: those that had ended before do not."""
    if job.nodes == 1 or not job.was_suspended:
        return False
    before = any(pod.phase == "Succeeded" and pod.created_at < job.active_since for pod in pods)
    return before and any(pod.created_at >= job.active_since and not pod.has_ended for pod in pods)


def missed_deadline(job: ObservedJob, pods: Sequence[ObservedPod], limits: Limits, now: datetime) -> Verdict | None:
    """Return why `job` should wait no longer, or None."""
    if not is_waiting(job):
        return None
    verdicts = (_missed_by_pod(pod, limits, now) for pod in current_pods(pods))
    return next((verdict for verdict in verdicts if verdict), None)


def verdict_without_pods(refusal: str, waited: timedelta, limits: Limits) -> Verdict | None:
    """Return why a job without pods should wait no longer, or None. refusal: why its pods are not made."""
    if not refusal:
        return None
    from lyftlearn_kubernetes.status import quota  # noqa: PLC0415 - a submission does not pay for what it compiles

    late = waited > limits.pending
    if not quota.is_quota_refusal(refusal):
        hopeless = late or not quota.may_pass(refusal)
        return (FailureReason.CONFIGURATION, f"no pod can be made: {refusal}") if hopeless else None
    if quota.exceeds_hard_limit(refusal):
        return FailureReason.CAPACITY, f"more is asked for than the quota ever allows: {refusal}"
    return (FailureReason.CAPACITY, f"{words.no_capacity(limits.pending)}: {refusal}") if late else None


def _missed_by_pod(pod: ObservedPod, limits: Limits, now: datetime) -> Verdict | None:
    if pod.started_at is not None or pod.has_ended or pod.deleted:
        return None
    if pod.scheduled_at is None:
        return _missed_place(pod, limits, now - pod.created_at)
    reason, message = pod.waiting or ("", "")
    waited = now - pod.scheduled_at
    if reason in HOPELESS_IMAGE_ERRORS or (reason in IMAGE_ERRORS and waited > limits.starting):
        return FailureReason.IMAGE, f"{reason}: {message}"
    if reason in CONFIGURATION_ERRORS and waited > limits.starting:
        return FailureReason.CONFIGURATION, _translate_failure(reason, message)
    if waited > limits.pending:
        return FailureReason.CONFIGURATION, f"its container did not start within {limits.pending}: {reason} {message}"
    return None


def _missed_place(pod: ObservedPod, limits: Limits, waited: timedelta) -> Verdict | None:
    missing = _NO_CLAIM.search(pod.unscheduled or "")
    if missing and waited > limits.starting:
        return FailureReason.CONFIGURATION, f"there is no PersistentVolumeClaim {missing[1]} in this namespace"
    late = waited > limits.pending
    return (FailureReason.CAPACITY, f"{words.no_capacity(limits.pending)}: {pod.unscheduled}") if late else None


def _translate_failure(reason: str, message: str) -> str:
    """A secret that is not there is told as every other substrate tells it."""
    missing = _NO_SECRET.fullmatch(message)
    return words.no_such_secret(missing[1]) if missing else f"{reason}: {message}"
