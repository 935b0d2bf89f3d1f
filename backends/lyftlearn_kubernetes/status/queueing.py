"""What Kueue says of the jobs that it holds back: their place, and what they wait for."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.cluster import WORKLOADS
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse, translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedJob

REFRESH_SECONDS = 15.0
"""How old an answer may be: one list tells of every job, and nobody who waits in a queue is in a hurry."""
ABSENT_SECONDS = 600.0
"""When an API is asked for again that is not there, or not granted."""
VISIBILITY = "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/{namespace}/localqueues/{queue}/pendingworkloads"
_JOB_UID = "kueue.x-k8s.io/job-uid"
_log = logging.getLogger("lyftlearn")


class QueueReader:
    """Reads Kueue's Workloads of one namespace. Without a permission for them, or without Kueue, it knows nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._due: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._places: dict[str, dict[str, int]] = {}

    def explanation(self, job: ObservedJob) -> str:
        """Return where a suspended job stands and why, in Kueue's words; nothing where nobody can say."""
        if self._is_due(WORKLOADS):
            workloads = self._ask(WORKLOADS, lambda: _all_workloads(self._cluster)) or ()
            self._texts = {workload["metadata"]["labels"][_JOB_UID]: self._text(workload) for workload in workloads}
        return self._texts.get(job.uid, "")

    def _text(self, workload: Mapping[str, Any]) -> str:
        queue = (workload.get("spec") or {}).get("queueName") or ""
        place = self._places_in(queue).get(workload["metadata"]["name"]) if _is_pending(workload) else None
        where = f"number {place + 1} in queue {queue}" if place is not None else f"in queue {queue}"
        return "; ".join((where, *_reasons(workload)))

    def _places_in(self, queue: str) -> dict[str, int]:
        """Return the places of a queue's workloads, from 0 on, where the visibility API tells them."""
        key = f"queue {queue}"
        if queue and self._is_due(key):
            path = VISIBILITY.format(namespace=self._cluster.namespace, queue=queue)
            items = self._ask(key, lambda: self._cluster.ask("GET", path).get("items") or [])
            self._places[queue] = {item["metadata"]["name"]: item["positionInLocalQueue"] for item in items or ()}
        return self._places.get(queue, {})

    def _is_due(self, key: str) -> bool:
        return time.monotonic() >= self._due.get(key, 0.0)

    def _ask(self, key: str, ask: Any) -> Any:
        """Return an answer, or None. What cannot be had explains nothing, and changes nothing else."""
        self._due[key] = time.monotonic() + REFRESH_SECONDS
        try:
            return ask()
        except (ApiError, NoResponse, LyftLearnError) as exc:
            if isinstance(exc, ApiError) and exc.definite:
                self._due[key] = time.monotonic() + ABSENT_SECONDS
            _log.info("Kueue does not say what jobs wait for (%s): %s", key, exc)
            return None


def deactivate(cluster: Cluster, job: ObservedJob) -> None:
    """Take a job back from the cluster where MultiKueue runs it: Kueue then suspends it, and admits it no more."""
    with translate_errors("stopping jobs of MultiKueue"):
        for workload in _all_workloads(cluster, f"{_JOB_UID}={job.uid}"):
            cluster.patch(WORKLOADS, workload["metadata"]["name"], {"spec": {"active": False}})


def _all_workloads(cluster: Cluster, selector: str = _JOB_UID) -> list[dict[str, Any]]:
    return list(cluster.list(WORKLOADS, labels=selector))


def _is_pending(workload: Mapping[str, Any]) -> bool:
    return (_condition(workload, "QuotaReserved") or {}).get("status") != "True"


def _reasons(workload: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a workload waits for: somebody, quota, or else the checks that come after it."""
    if (workload.get("spec") or {}).get("active") is False:
        yield (_condition(workload, "Evicted") or {}).get("message") or "The workload is deactivated"
        return
    if _is_pending(workload):
        condition = _condition(workload, "QuotaReserved") or _condition(workload, "Evicted") or {}
        if condition.get("message"):
            yield str(condition["message"])
        return
    for check in (workload.get("status") or {}).get("admissionChecks") or ():
        if check.get("state") != "Ready":
            state = ": ".join(filter(None, (check.get("state"), check.get("message"))))
            yield f"admission check {check['name']}: {state}"


def _condition(workload: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == kind), None)
