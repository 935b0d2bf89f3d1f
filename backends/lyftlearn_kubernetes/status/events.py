"""From a Job and its pods to what happened: one event, complete when it is the last. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from lyftlearn.backend import words
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.labels import KILLED, REPLACED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lyftlearn.backend import Report
    from lyftlearn_kubernetes.status.observed import Condition, Ending, ObservedJob, ObservedPod

LONGEST_LINGERING = timedelta(minutes=10)  # a pod on a dead node is not heard of any more
DEADLINE = "DeadlineExceeded"
NEVER_STARTED = frozenset(("StartError", "ContainerCannotRun", "ContainerStatusUnknown"))
CANNOT_EXECUTE = frozenset((126, 127, 128))
OOM_KILLED = "OOMKilled"
NO_PYTHON = "the image cannot start `python3`, which the runtime needs: use an image with Python 3.8 or newer"
DELETED = "the Job was deleted by someone else"
WAITS_FOR_PODS = "waiting for its pods"
HELD_BACK = "held back by its queue"
POD_DELETED = "a pod of the job was deleted by someone else"
DISK = "it needed more disk than resources.disk"
EVICTED = "Evicted"
# The kubelet's eviction manager: a limit of the pod's own, not the pressure of a node.
_OWN_LIMIT = re.compile(r"exceeds the (?:total )?limit|exceeded its local ephemeral storage limit")
_NO_ADDRESS = "nodes: no address after"  # the runtime, of nodes that do not come to meet the others
# The Job's controller, of a pod that a FailJob rule matched: it notes that before it lets the pod go.
_CULPRIT = re.compile(r"pod (?:\S+/)?(?P<name>\S+) failed with exit code (?P<code>\d+)")
# What the container contract says of the runtime's own exit codes.
_REASON_BY_CODE = {
    124: FailureReason.TIMEOUT,
    78: FailureReason.CONFIGURATION,
    70: FailureReason.PLATFORM,
    127: FailureReason.IMAGE,
}
LATE = timedelta(seconds=30)


def event(job: ObservedJob, pods: Sequence[ObservedPod], now: datetime) -> JobEvent:
    """Return what is known of `job`. A final event has the time at which the Job's controller said so."""
    if job.complete is not None:
        return _success(job, job.complete, pods)
    if job.failure is not None and not lingers(job, pods, now):
        return _failure(job, job.failure, pods)
    if job.stop is not None and _was_stopped_in_queue(job, pods):
        return _event(job, JobStatus.STOPPED, job.stop, pods, message=words.STOP_REQUESTED)
    return _current_event(job, pods, now)


def is_over(job: ObservedJob, pods: Sequence[ObservedPod]) -> bool:
    """Whether nothing of a job will run any more: it has finished, or was stopped while its queue held it back."""
    return job.has_finished or _was_stopped_in_queue(job, pods)


def _was_stopped_in_queue(job: ObservedJob, pods: Sequence[ObservedPod]) -> bool:
    return job.stop is not None and job.suspended and all(pod.has_ended for pod in pods)


def first_start(job: ObservedJob, pods: Sequence[ObservedPod]) -> datetime | None:
    """Return when a container of the job first began: by its pods, and by what the Job keeps of those that are gone."""
    starts = [job.first_start, _start_elsewhere(job), *(pod.started_at for pod in pods)]
    return min(filter(None, starts), default=None)


def _start_elsewhere(job: ObservedJob) -> datetime | None:
    """Return when a job began whose pods nobody sees here: the Job's controller there tells when it took it up."""
    failed_by_itself = job.failure is not None and _CULPRIT.search(job.failure.message)
    if job.elsewhere and (job.ready or job.complete or failed_by_itself):
        return max(job.active_since, job.created_at)
    return None


def lost_job(job_id: str, now: datetime) -> JobEvent:
    """Return the end of a job that was there, had not finished, and is not there any more."""
    return JobEvent(job_id=job_id, status=JobStatus.FAILED, at=now, reason=FailureReason.PLATFORM, message=DELETED)


def lingers(job: ObservedJob, pods: Sequence[ObservedPod], now: datetime) -> bool:
    """Whether a Job that has failed still ends its pods: before Kubernetes 1.31 they are told of in this order."""
    if job.failure is None or now - job.failure.at > LONGEST_LINGERING:
        return False
    return any(not pod.has_ended for pod in pods)


def lacks_pods(job: ObservedJob, pods: Sequence[ObservedPod]) -> bool:
    """Whether the end of `job` cannot be told from `pods`, because the news of them came later or not at all."""
    if job.elsewhere:
        return False
    if job.complete is not None:
        return sum(pod.has_ended for pod in pods) < job.nodes
    if job.failure is None or job.verdict is not None or job.stop is not None:
        return False
    return _lacks_culprit(job.failure, pods) or not any(map(_explains_the_end, pods))


def _lacks_culprit(failure: Condition, pods: Sequence[ObservedPod]) -> bool:
    """Whether the pod is gone that the Job's controller blames: none that is left ended the job."""
    match = _CULPRIT.search(failure.message)
    return match is not None and all(pod.name != match["name"] for pod in pods)


def _event(
    job: ObservedJob,
    status: JobStatus,
    at: datetime,
    pods: Sequence[ObservedPod],
    *,
    reason: FailureReason | None = None,
    message: str = "",
    exit_code: int | None = None,
) -> JobEvent:
    return JobEvent(
        job_id=job.id,
        status=status,
        at=at,
        incarnation=job.incarnation,
        attempt=max([1, *(pod.ending.report.attempt for pod in pods if pod.ending and pod.ending.report)]),
        reason=reason,
        message=message,
        exit_code=exit_code,
        created_at=job.created_at,
        started_at=first_start(job, pods),
    )


def _success(job: ObservedJob, complete: Condition, pods: Sequence[ObservedPod]) -> JobEvent:
    at = job.completed_at or complete.at
    idle = next((pod.ending.report for pod in pods if pod.ending and pod.ending.idle), None)
    if idle:
        return _event(job, JobStatus.STOPPED, at, pods, message=idle.message)
    return _event(job, JobStatus.SUCCEEDED, at, pods, exit_code=0)


def _failure(job: ObservedJob, failure: Condition, pods: Sequence[ObservedPod]) -> JobEvent:
    ends = _explaining_pods(pods)
    if job.verdict is not None:
        reason, message = FailureReason(job.verdict[0]), job.verdict[1]
        code = next((code for cause, _, code in map(failure_of, ends) if cause is reason), None)
        return _event(job, JobStatus.FAILED, failure.at, pods, reason=reason, message=message, exit_code=code)
    if job.stop and failure.reason == DEADLINE:
        return _event(job, JobStatus.STOPPED, failure.at, pods, message=words.STOP_REQUESTED)
    if failure.reason == DEADLINE and not any(_ended_by_itself(pod) for pod in ends):
        explanation = "it ran into its deadline on the cluster, which lies behind its own timeout and all waiting"
        return _event(job, JobStatus.FAILED, failure.at, pods, reason=FailureReason.TIMEOUT, message=explanation)
    if job.elsewhere or _lacks_culprit(failure, pods):
        return _failure_of_unseen_pod(job, failure, pods)
    if not ends:
        explanation = POD_DELETED if any(pod.ending for pod in pods) else failure.message or failure.reason
        return _event(job, JobStatus.FAILED, failure.at, pods, reason=FailureReason.PLATFORM, message=explanation)
    reason_of_pod, message, exit_code = failure_of(ends[0])
    return _event(job, JobStatus.FAILED, failure.at, pods, reason=reason_of_pod, message=message, exit_code=exit_code)


def _failure_of_unseen_pod(job: ObservedJob, failure: Condition, pods: Sequence[ObservedPod]) -> JobEvent:
    """Return the end of a job whose pod is gone or elsewhere: the Job's controller tells the container's exit code."""
    match = _CULPRIT.search(failure.message)
    code = int(match["code"]) if match else None
    reason = _REASON_BY_CODE.get(code, FailureReason.USER_ERROR) if code is not None else FailureReason.PLATFORM
    own = code if reason is FailureReason.USER_ERROR else None
    return _event(job, JobStatus.FAILED, failure.at, pods, reason=reason, message=failure.message, exit_code=own)


def _explaining_pods(pods: Sequence[ObservedPod]) -> list[ObservedPod]:
    """Return the pods that failed by themselves, the cause first.

    A pod that another has replaced is no cause, and a lost one only if no other is: the job outlived both.
    """
    last = current_pods(pods)

    def order(pod: ObservedPod) -> tuple[bool, bool, datetime]:
        return pod not in last, pod.disruption is not None, pod.ending.at if pod.ending else pod.created_at

    return sorted(filter(_explains_the_end, pods), key=order)


def _explains_the_end(pod: ObservedPod) -> bool:
    """Whether a pod failed by itself: not one that succeeded, nor one that was ended because another had failed."""
    if pod.ending is None:
        return pod.phase == "Failed"
    report = pod.ending.report
    was_ended = _was_stopped(report) if report else pod.deleted and pod.ending.reason != OOM_KILLED
    if was_ended and pod.deleted:
        return pod.disruption is not None
    return pod.ending.exit_code != 0


def _was_stopped(report: Report) -> bool:
    return report.status is JobStatus.STOPPED


def _ended_by_itself(pod: ObservedPod) -> bool:
    """Whether a pod's runtime reported an end that nobody asked for."""
    report = pod.ending.report if pod.ending else None
    return report is not None and not _was_stopped(report)


def final_failure(pods: Sequence[ObservedPod]) -> tuple[FailureReason, str] | None:
    """Return why a pod failed that its Job replaces, if another one fails as well; None if the platform ended it."""
    for pod in pods:
        if pod.phase == "Failed" and _is_replaced(pod) and not (pod.deleted or pod.disruption):
            reason, message, _ = failure_of(pod)
            if reason is not FailureReason.PLATFORM:
                return reason, message
    return None


def _is_replaced(pod: ObservedPod) -> bool:
    """Whether the Job makes another pod in place of one that has failed, by its `podFailurePolicy`."""
    return pod.disruption is not None or pod.ending is None or pod.ending.exit_code in REPLACED


def failure_of(pod: ObservedPod) -> tuple[FailureReason, str, int | None]:
    """Return reason, message and the command's exit code of a pod that failed."""
    report = pod.ending.report if pod.ending else None
    if pod.reason == EVICTED and _OWN_LIMIT.search(pod.message):
        return FailureReason.CONFIGURATION, f"{DISK}: {pod.message}", None
    if pod.disruption is not None and (report is None or _was_stopped(report)):
        explanation = pod.message or pod.disruption.message or pod.disruption.reason
        return FailureReason.PREEMPTED, f"its node or its place was lost: {explanation}", None
    if pod.ending is None:
        return FailureReason.PLATFORM, pod.message or pod.reason or "a pod failed and left no word", None
    if report is not None and _was_stopped(report):
        return FailureReason.USER_ERROR, words.SIGNALLED, pod.ending.exit_code
    return _container_failure(pod.ending)


def _container_failure(ending: Ending) -> tuple[FailureReason, str, int | None]:
    if ending.reason == OOM_KILLED:
        return FailureReason.OUT_OF_MEMORY, (ending.report and ending.report.message) or words.OUT_OF_MEMORY, KILLED
    report = ending.report
    if report is not None and report.reason is FailureReason.PLATFORM and _NO_ADDRESS in report.message:
        return FailureReason.CAPACITY, f"not all nodes of the job found a place: {report.message}", None
    if report is not None and report.reason is not None:
        return report.reason, report.message, report.exit_code
    if ending.reason in NEVER_STARTED or ending.exit_code in CANNOT_EXECUTE:
        return FailureReason.IMAGE, f"{NO_PYTHON} ({ending.text or ending.reason})", None
    explanation = ending.text[-700:] or ending.reason
    return FailureReason.PLATFORM, f"the runtime ended with {ending.exit_code} and left no report: {explanation}", None


def _current_event(job: ObservedJob, pods: Sequence[ObservedPod], now: datetime) -> JobEvent:
    status, message = _progress(job, pods, now)
    if job.stop is not None or job.verdict is not None or job.failure is not None:
        status, message = JobStatus.STOPPING, words.STOP_REQUESTED if job.stop else (job.verdict or ("", ""))[1]
    return _event(job, status, now, pods, message=message)


def _progress(job: ObservedJob, pods: Sequence[ObservedPod], now: datetime) -> tuple[JobStatus, str]:
    """Return the status of the node that is furthest behind."""
    if job.suspended:
        return JobStatus.PENDING, HELD_BACK
    if job.elsewhere:
        return _progress_elsewhere(job)
    current = [pod for pod in current_pods(pods) if not _gives_way(job, pod)]
    if len(current) < job.nodes:
        return JobStatus.PENDING, WAITS_FOR_PODS
    return min((_progress_of(pod, now) for pod in current), key=lambda progress: list(JobStatus).index(progress[0]))


def _progress_elsewhere(job: ObservedJob) -> tuple[JobStatus, str]:
    """Return the status of a job whose pods are on another cluster: MultiKueue copies the Job's status, and no pods."""
    if job.ready >= job.nodes:
        return JobStatus.RUNNING, ""
    if job.active >= job.nodes:
        return JobStatus.STARTING, "on another cluster"
    return JobStatus.PENDING, f"{WAITS_FOR_PODS} on another cluster"


def _gives_way(job: ObservedJob, pod: ObservedPod) -> bool:
    """Whether another pod comes in place of this one: it was lost, or ends since a suspension that is over."""
    if pod.has_ended:
        return pod.phase == "Failed" and _is_replaced(pod)
    return job.was_suspended and pod.deleted and pod.released


def current_pods(pods: Sequence[ObservedPod]) -> list[ObservedPod]:
    """Return the pod of each node that counts: one that was lost gives way to the next."""
    newest: dict[int, ObservedPod] = {}
    for pod in sorted(pods, key=lambda pod: (pod.created_at, pod.version)):
        known = newest.get(pod.node)
        if known is None or known.has_ended or known.deleted or not pod.has_ended:
            newest[pod.node] = pod
    return list(newest.values())


def _progress_of(pod: ObservedPod, now: datetime) -> tuple[JobStatus, str]:
    if pod.started_at is not None or pod.has_ended:
        return JobStatus.RUNNING, _what_keeps_it(pod, now)
    if pod.scheduled_at is None:
        return JobStatus.PENDING, pod.unscheduled or "waiting for a place on a node"
    reason, message = pod.waiting or ("", "")
    return JobStatus.STARTING, ": ".join(part for part in (reason, message) if part)


def _what_keeps_it(pod: ObservedPod, now: datetime) -> str:
    """Return what a person should know of a pod that seems to run: a node that is silent, sidecars that do not end.

    A kubelet kills sidecars when the pod's grace is over, counted from the end of the main container.
    """
    if pod.phase in ("Succeeded", "Failed"):
        return ""
    if pod.ending is not None:
        return "its command has ended, and the pod waits for its sidecars"
    if pod.gone_by is not None and now - pod.gone_by > LATE:
        return f"node {pod.host or '(unknown)'} does not answer: its pod should have ended at {pod.gone_by:%H:%M} UTC"
    return ""
