"""The jobs that a cluster has: found, watched and stopped. A process that only submits does not load this."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord
from lyftlearn.errors import Conflict, LyftLearnError
from lyftlearn_kubernetes.api.cluster import JOBS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.status import jobs, listing, observed, queueing, timings
from lyftlearn_kubernetes.status.deadlines import DeadlineEnforcer
from lyftlearn_kubernetes.status.jobs import JobObserver, RefusedPods
from lyftlearn_kubernetes.status.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lyftlearn.backend import JobQuery, JobSpec, StoredJob, Timings, WatchSet
    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options
    from lyftlearn_kubernetes.status.observed import ObservedPod


class JobFinder:
    """Jobs by their ids."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster = cluster
        refused = RefusedPods(cluster)
        self._observer = JobObserver(cluster, refused)
        self._enforcer = DeadlineEnforcer(cluster, options, refused)

    def document(self, job_id: str) -> dict[str, Any]:
        """Return the Job. Raises JobNotFound."""
        return jobs.fetch(self._cluster, job_id)

    def stored_job(self, job_id: str) -> StoredJob:
        """Return what the Job's pods are made from."""
        return jobs.stored_job(self.document(job_id))

    def record(self, job_id: str) -> JobRecord:
        """Read the Job and its pods; end it if it has waited for too long."""
        document = self.document(job_id)
        pods = jobs.pods_of(self._cluster, job_id)
        job = self._enforcer.end_if_overdue(observed.readable_job(document), pods)
        return jobs.record(document, self._observer.event(job, pods))

    def accepted_record(self, spec: JobSpec) -> JobRecord:
        """Return the job that was made from `spec`. Raises Conflict if another job has its id.

        Its pods may be a secret, its acceptance is none.
        """
        document = self.document(spec.id)
        if jobs.digest(document) != spec.digest:
            message = f"the id {spec.id} belongs to a job with other arguments, or other content of source or inputs"
            raise Conflict(message, spec.id)
        job = observed.job(document)
        try:
            return jobs.record(document, self._observer.event(job, jobs.pods_of(self._cluster, spec.id)))
        except LyftLearnError:
            return JobRecord.of(spec, job.created_at)

    def records(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the jobs of `query`: two lists, whatever their number."""
        return listing.records(self._cluster, query)

    def timings(self, job_id: str) -> Timings:
        """Read the Job, its pods, and what the kubelet said of their image."""
        job = observed.readable_job(self.document(job_id))
        pods = jobs.pods_of(self._cluster, job_id)
        return timings.timings(self._cluster, self._observer.event(job, pods), pods)

    def stop(self, job_id: str) -> None:
        """One patch: an annotation, and a deadline that has passed."""
        job = observed.readable_job(self.document(job_id))
        if job.has_finished or job.stop is not None:
            return
        pods: Sequence[ObservedPod] = ()
        with suppress(LyftLearnError):  # without them nobody learns when it began, but it is stopped all the same
            pods = jobs.pods_of(self._cluster, job_id)
        wish = jobs.stop_patch(job, pods, self._cluster.now())
        try:
            with translate_errors("stopping jobs"):
                self._cluster.patch(JOBS, job_id, wish)
        except LyftLearnError:  # it may be said to the repetition of a patch whose answer was lost
            if not self._is_ending(job_id):
                raise
        if job.elsewhere:
            queueing.deactivate(self._cluster, job)

    def _is_ending(self, job_id: str) -> bool:
        """Whether a stop is not needed any more. Raises JobNotFound for a job that went meanwhile."""
        job = observed.job(self.document(job_id))
        return job.has_finished or job.stop is not None

    def watch(self, following: WatchSet, known: set[str], silence: float) -> Iterator[JobEvent]:
        """One watch of Jobs and one of pods for every followed job. known: jobs that this process has seen."""
        return JobWatcher(self._cluster, self._observer, self._enforcer, known, silence).events(following)
