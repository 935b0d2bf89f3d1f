"""Many jobs at once: two lists, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS, PODS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.status import events, jobs, observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import JobQuery, JobRecord
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedPod


def records(cluster: Cluster, query: JobQuery) -> Iterator[JobRecord]:
    """Yield the jobs of `query`, newest first. The API sorts by name, so all pages are read first."""
    selector = labels.selector(query)
    pods = _pods_by_job(cluster, selector)
    matches: list[JobRecord] = []
    with translate_errors("listing jobs"):
        for page in cluster.list(JOBS, labels=selector):
            for document in page["items"]:
                job = observed.job(document)
                if query.since is None or job.created_at >= query.since:
                    matches.append(jobs.record(document, events.event(job, pods[job.id], jobs.now())))
    matches.sort(key=lambda record: record.event.created_at or record.event.at, reverse=True)
    yield from (record for record in matches if query.matches(record))


def _pods_by_job(cluster: Cluster, selector: str) -> dict[str, list[ObservedPod]]:
    pods: dict[str, list[ObservedPod]] = defaultdict(list)
    with translate_errors("listing pods"):
        for page in cluster.list(PODS, labels=selector):
            for document in page["items"]:
                pod = observed.pod(document)
                pods[pod.job_id].append(pod)
    return pods
