"""Where a job's time went, from its newest pod and what the kubelet said of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn.backend import PhaseName, Timings, consecutive_phases, timings_of
from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.cluster import EVENTS, moment
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedPod

_PULLED = "Successfully pulled"  # the kubelet's Event "Pulled" says something else of an image that was there


def timings(cluster: Cluster, event: JobEvent, pods: Sequence[ObservedPod]) -> Timings:
    """Return the phases of the newest pod of node 0; of a job whose pods are gone, what its Job alone tells."""
    pod = max((pod for pod in pods if pod.node == 0), key=lambda pod: pod.created_at, default=None)
    if pod is None:
        return timings_of(event)
    times = pod.ending.times if pod.ending else None
    ends = [
        (PhaseName.WAITING, pod.scheduled_at),
        (PhaseName.PULLING, _pulled_at(cluster, pod)),
        (PhaseName.STARTING, pod.started_at),
        (PhaseName.FETCHING, times.started_at if times else None),
        (PhaseName.RUNNING, times.finished_at if times else None),
    ]
    created_at = event.created_at or pod.created_at
    finished_at = pod.ending.at if pod.ending else event.at if event.status.finished else None
    return Timings(consecutive_phases(created_at, ends, _last(pod), finished_at))


def _last(pod: ObservedPod) -> PhaseName:
    if pod.ending and pod.ending.times:
        return PhaseName.UPLOADING
    if pod.started_at:
        return PhaseName.FETCHING if pod.ending and pod.ending.report else PhaseName.RUNNING
    return PhaseName.STARTING if pod.scheduled_at else PhaseName.WAITING


def _pulled_at(cluster: Cluster, pod: ObservedPod) -> datetime | None:
    """Return when the pod's image had come; None if it was there, or if the cluster's Events do not tell."""
    try:
        events = list(cluster.list(EVENTS, fields=f"involvedObject.name={pod.name},reason=Pulled"))
    except (ApiError, NoResponse, LyftLearnError):
        return None
    pulls = [item for item in events if _PULLED in item.get("message", "")]
    times = [text for item in pulls if (text := item.get("lastTimestamp") or item.get("eventTime"))]
    return moment(max(times)) if times else None
