"""One job at a time: its record from what the cluster keeps, and the patches that end it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord
from lyftlearn.errors import JobNotFound
from lyftlearn.types import FailureReason, JobKind
from lyftlearn_kubernetes import _limits, _names, _observed, _state
from lyftlearn_kubernetes._cluster import EVENTS, JOBS, PODS
from lyftlearn_kubernetes._errors import Refused, Unanswered, translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes._cluster import Cluster
    from lyftlearn_kubernetes._limits import Verdict
    from lyftlearn_kubernetes._observed import ObservedJob, ObservedPod
    from lyftlearn_kubernetes._options import Options

NOT_FOUND = 404
FROM_THE_CLUSTER = frozenset((FailureReason.PLATFORM, FailureReason.PREEMPTED, FailureReason.CAPACITY))
_MOST_EVENTS = 3


def fetch(cluster: Cluster, job_id: str) -> dict[str, Any]:
    """Return the Job. Raises JobNotFound."""
    try:
        found = cluster.get(JOBS, job_id)
    except (Refused, Unanswered) as exc:
        if isinstance(exc, Refused) and exc.status == NOT_FOUND:
            raise not_found(cluster, job_id) from exc
        with translated("reading jobs"):
            raise
    if _names.JOB not in (found["metadata"].get("labels") or {}):
        raise not_found(cluster, job_id)
    return found


def not_found(cluster: Cluster, job_id: str) -> JobNotFound:
    """Return the error for a job that is not there."""
    return JobNotFound(
        f"there is no job {job_id} in the namespace {cluster.namespace!r}; finished ones are removed in time"
    )


def pods_of(cluster: Cluster, job_id: str) -> list[ObservedPod]:
    """Return what is known of a job's pods."""
    with translated("listing pods"):
        pages = list(cluster.list(PODS, labels=_names.of_job(job_id)))
    return [_observed.pod(item) for page in pages for item in page["items"]]


def record(document: Mapping[str, Any], event: JobEvent) -> JobRecord:
    """Return what a Job keeps of its submission."""
    metadata = document["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return JobRecord(
        id=metadata["name"],
        kind=JobKind(labels[_names.KIND]),
        name=labels[_names.NAME],
        labels=json.loads(annotations.get(_names.LABELS, "{}")),
        digest=annotations.get(_names.DIGEST, ""),
        decision=annotations.get(_names.DECISION, ""),
        event=event,
    )


def outputs(document: Mapping[str, Any]) -> dict[str, str]:
    """Return output name to URI."""
    kept: dict[str, str] = json.loads((document["metadata"].get("annotations") or {}).get(_names.OUTPUTS, "{}"))
    return kept


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class Judge:
    """Tells events, and ends jobs whose waiting has lasted too long."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options

    def event(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> JobEvent:
        """Return what is known; on failures that are not the command's, with what the cluster's own Events say."""
        event = _state.event(job, pods, now())
        if event.reason not in FROM_THE_CLUSTER or job.verdict is not None:
            return event
        said = self._said([job.id, *(pod.name for pod in pods)])
        return replace(event, message=" | ".join(part for part in (event.message, said) if part))

    def end_if_overdue(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> ObservedJob:
        """Return the job, ended by a patch if it has waited too long."""
        verdict = _limits.overdue(job, pods, self._options, now())
        if verdict is None and _limits.podless(job, pods, self._options, now()):
            verdict = self._why_no_pods(job)
        if verdict is None:
            return job
        reason, message = verdict
        words = _names.compact({"reason": str(reason), "message": message[:1000]})
        with translated("ending jobs"):
            return _observed.job(self._cluster.patch(JOBS, job.id, ending({_names.VERDICT: words})))

    def _why_no_pods(self, job: ObservedJob) -> Verdict | None:
        said = self._said([job.id])
        if not said:
            return None
        reason = FailureReason.CAPACITY if "quota" in said else FailureReason.CONFIGURATION
        return reason, f"no pod can be made: {said}"

    def _said(self, names: Sequence[str]) -> str:
        """Return the last warnings about objects of these names; what cannot be read is not worth a failure."""
        warnings: list[tuple[str, str]] = []
        for name in names[:_MOST_EVENTS]:
            try:
                for page in self._cluster.list(EVENTS, fields=f"involvedObject.name={name},type=Warning"):
                    warnings += [_told(item) for item in page["items"]]
            except (Refused, Unanswered):
                return ""
        texts = dict.fromkeys(text for _, text in sorted(warnings))
        return "; ".join(list(texts)[-_MOST_EVENTS:])


def _told(event: Mapping[str, Any]) -> tuple[str, str]:
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return at, f"{event.get('reason', '')}: {event.get('message', '')}"


def ending(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the patch that ends a Job and keeps it: its controller ends the pods when the deadline has passed."""
    return {"metadata": {"annotations": dict(annotations)}, "spec": {"activeDeadlineSeconds": 1}}
