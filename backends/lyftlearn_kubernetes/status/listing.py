"""Many jobs at once: two lists, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS, PODS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.status import events, jobs, observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn.backend import JobQuery, JobRecord
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod


def records(cluster: Cluster, query: JobQuery) -> Iterator[JobRecord]:
    """Yield the jobs of `query`, newest first. The API sorts by name, so all pages are read first."""
    selector = labels.selector(query)
    pods = _pods_by_job(cluster, selector)
    matches: list[JobRecord] = []
    with translate_errors("listing jobs"):
        for job, document in observed.each(_with_document, cluster.list(JOBS, labels=selector)):
            if query.since is None or job.created_at >= query.since:
                event = events.event(job, pods[job.id], cluster.now())
                matches += observed.each(partial(jobs.record, event=event), [document])
    matches.sort(key=lambda record: record.event.created_at or record.event.at, reverse=True)
    yield from (record for record in matches if query.matches(record))


def _with_document(document: Mapping[str, Any]) -> tuple[ObservedJob, Mapping[str, Any]]:
    return observed.job(document), document


def _pods_by_job(cluster: Cluster, selector: str) -> dict[str, list[ObservedPod]]:
    pods: dict[str, list[ObservedPod]] = defaultdict(list)
    with translate_errors("listing pods"):
        for pod in observed.each(observed.pod, cluster.list(PODS, labels=selector)):
            pods[pod.job_id].append(pod)
    return pods
