"""One job at a time: its record from what the cluster keeps, and the patches that end it."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import timedelta
from sys import intern
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord, StoredJob
from lyftlearn.errors import BackendUnavailable, JobNotFound, LyftLearnError
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import EVENTS, JOBS, PODS
from lyftlearn_kubernetes.api.errors import NOT_FOUND, ApiError, NoResponse, translate_errors
from lyftlearn_kubernetes.status import events, observed
from lyftlearn_kubernetes.status.queueing import QueueReader
from lyftlearn_kubernetes.status.starts import StartKeeper, annotation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

FROM_THE_CLUSTER = frozenset((FailureReason.PLATFORM, FailureReason.PREEMPTED, FailureReason.CAPACITY))
_MOST_EVENTS = 3
SOON = timedelta(seconds=5)
"""For which a job may have no pods without anything being wrong."""
REFUSALS_KEPT_SECONDS = 30.0
"""How old a list of refused pods may be: many jobs may wait for one quota, and none of them is in a hurry."""
_log = logging.getLogger("lyftlearn")


def fetch(cluster: Cluster, job_id: str) -> dict[str, Any]:
    """Return the Job. Raises JobNotFound."""
    try:
        with translate_errors("reading jobs"):
            document = cluster.get(JOBS, job_id)
    except LyftLearnError as exc:
        if isinstance(exc.__cause__, ApiError) and exc.__cause__.status == NOT_FOUND:
            raise _absence(cluster, exc.__cause__, job_id) from exc.__cause__
        raise
    if labels.JOB not in (document["metadata"].get("labels") or {}):
        raise not_found_error(cluster, job_id)
    return document


def _absence(cluster: Cluster, error: ApiError, job_id: str) -> LyftLearnError:
    """Return the error for a 404: only the API itself, about this very job, says that it is not there."""
    if error.says_missing(job_id):
        return not_found_error(cluster, job_id)
    return BackendUnavailable(f"the Kubernetes API does not serve Jobs now: {error.message}")


def not_found_error(cluster: Cluster, job_id: str) -> JobNotFound:
    """Return the error for a job that is not there."""
    return JobNotFound(
        f"there is no job {job_id} in the namespace {cluster.namespace!r}; finished ones are removed in time"
    )


def pods_of(cluster: Cluster, job_id: str) -> list[ObservedPod]:
    """Return what is known of a job's pods."""
    with translate_errors("listing pods"):
        return list(observed.each(observed.pod, cluster.list(PODS, labels=labels.of_job(job_id))))


def record(document: Mapping[str, Any], event: JobEvent) -> JobRecord:
    """Return what a Job keeps of its submission. Raises LyftLearnError for one that lyftlearn did not make."""
    metadata = document["metadata"]
    marks, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if marks.get(labels.KIND) not in list(JobKind) or labels.NAME not in marks:
        raise LyftLearnError(f"the Job {metadata['name']} has labels that lyftlearn did not write: leave them alone")
    return JobRecord(
        id=intern(metadata["name"]),
        kind=JobKind(marks[labels.KIND]),
        name=intern(marks[labels.NAME]),
        labels=observed.texts(annotations.get(labels.LABELS)),
        digest=digest(document),
        decision=intern(annotations.get(labels.DECISION, "")),
        event=event,
        outputs=outputs(document),
        nodes=document.get("spec", {}).get("completions"),
    )


def stored_job(document: Mapping[str, Any]) -> StoredJob:
    """Return what a Job's pods are made from. Raises LyftLearnError for one that lyftlearn did not make."""
    template = document.get("spec", {}).get("template", {})
    try:
        bundle = json.loads(template["metadata"]["annotations"][labels.BUNDLE])
        return StoredJob(image=template["spec"]["containers"][0]["image"], bundle=bundle)
    except (LookupError, RecursionError, ValueError, TypeError) as exc:
        raise LyftLearnError(f"the Job {document['metadata']['name']} carries no bundle that can be read") from exc


def digest(document: Mapping[str, Any]) -> str:
    """Return what the digest of a Job's submission was."""
    return str((document["metadata"].get("annotations") or {}).get(labels.DIGEST, ""))


def outputs(document: Mapping[str, Any]) -> dict[str, str]:
    """Return output name to URI."""
    return observed.texts((document["metadata"].get("annotations") or {}).get(labels.OUTPUTS))


class RefusedPods:
    """Why pods are not made, as the Jobs' controller said last. One list tells it of every job."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._refusals: dict[str, str] = {}
        self._read_at = float("-inf")

    def refusal(self, job_id: str) -> str:
        """Return why the job's pods are not made, by a list that may be half a minute old."""
        if time.monotonic() - self._read_at > REFUSALS_KEPT_SECONDS:
            self._refusals = refusals_of_pods(self._cluster)
            self._read_at = time.monotonic()
        return self._refusals.get(job_id, "")


class JobObserver:
    """Tells events; with what the cluster's own Events say of failures that are not the command's, and of waiting."""

    def __init__(self, cluster: Cluster, refused: RefusedPods) -> None:
        self._cluster = cluster
        self._queues = QueueReader(cluster)
        self._starts = StartKeeper(cluster)
        self._refused = refused

    def event(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> JobEvent:
        """Return what is known."""
        now = self._cluster.now()
        job = self._starts.keep(job, pods)
        event = events.event(job, pods, now)
        if event.status.finished:
            self._starts.forget(job.id)
        if job.suspended and job.queue and event.status is JobStatus.PENDING:
            explanation = self._queues.explanation(job)
            return replace(event, message=": ".join(filter(None, (event.message, explanation))))
        if event.message == events.WAITS_FOR_PODS and now - job.active_since > SOON:
            refusal = self._refused.refusal(job.id)
            return replace(event, message=f"{event.message}: {refusal}") if refusal else event
        if event.reason not in FROM_THE_CLUSTER or job.verdict is not None:
            return event
        warnings = warnings_about(self._cluster, [job.id, *(pod.name for pod in pods)])
        return replace(event, message=" | ".join(part for part in (event.message, warnings) if part))


def warnings_about(cluster: Cluster, names: Sequence[str]) -> str:
    """Return the last warnings about objects of these names; what cannot be read is not worth a failure."""
    warnings: list[tuple[str, str]] = []
    for name in names[:_MOST_EVENTS]:
        try:
            warnings += map(_warning, cluster.list(EVENTS, fields=f"involvedObject.name={name},type=Warning"))
        except (ApiError, NoResponse, LyftLearnError):
            return ""
    texts = dict.fromkeys(text for _, text in sorted(warnings))
    return "; ".join(list(texts)[-_MOST_EVENTS:])


def refusals_of_pods(cluster: Cluster) -> dict[str, str]:
    """Return what refuses pods, by the name of their Job: the last that each Job's controller said."""
    refusals: dict[str, tuple[str, str]] = {}
    try:
        for item in cluster.list(EVENTS, fields="involvedObject.kind=Job,reason=FailedCreate"):
            name = item["involvedObject"]["name"]
            refusals[name] = max(refusals.get(name, ("", "")), _warning(item))
    except (ApiError, NoResponse, LyftLearnError) as exc:
        _log.info("the cluster's Events cannot be read: %s", exc)
    return {name: text for name, (_, text) in refusals.items()}


def _warning(event: Mapping[str, Any]) -> tuple[str, str]:
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return at, f"{event.get('reason', '')}: {event.get('message', '')}"


def end_patch(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the patch that ends a Job and keeps it: its controller ends the pods when the deadline has passed."""
    return {"metadata": {"annotations": dict(annotations)}, "spec": {"activeDeadlineSeconds": 1}}


def stop_patch(job: ObservedJob, pods: Sequence[ObservedPod], now: datetime) -> dict[str, Any]:
    """Return the patch that stops a Job, and keeps of its pods when it began.

    One that its queue holds back must start nothing when it is let go.
    """
    started = annotation(events.first_start(job, pods))
    patch = end_patch({labels.STOP: f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", **started})
    if job.suspended:
        patch["spec"]["parallelism"] = 0
    return patch
