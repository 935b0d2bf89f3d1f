"""Many jobs at once: two lists, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lyftlearn_kubernetes import _jobs, _names, _observed, _state
from lyftlearn_kubernetes._cluster import JOBS, PODS
from lyftlearn_kubernetes._errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import JobQuery, JobRecord
    from lyftlearn_kubernetes._cluster import Cluster
    from lyftlearn_kubernetes._observed import ObservedPod


def matching(cluster: Cluster, query: JobQuery) -> Iterator[JobRecord]:
    """Yield the jobs of `query`, newest first. The API sorts by name, so all pages are read first."""
    selector = _names.selector(query)
    pods = _pods(cluster, selector)
    found: list[JobRecord] = []
    with translated("listing jobs"):
        for page in cluster.list(JOBS, labels=selector):
            for document in page["items"]:
                job = _observed.job(document)
                if query.since is None or job.created_at >= query.since:
                    found.append(_jobs.record(document, _state.event(job, pods[job.id], _jobs.now())))
    found.sort(key=lambda record: record.event.created_at or record.event.at, reverse=True)
    yield from (record for record in found if query.matches(record))


def _pods(cluster: Cluster, selector: str) -> dict[str, list[ObservedPod]]:
    pods: dict[str, list[ObservedPod]] = defaultdict(list)
    with translated("listing pods"):
        for page in cluster.list(PODS, labels=selector):
            for document in page["items"]:
                pod = _observed.pod(document)
                pods[pod.job_id].append(pod)
    return pods
