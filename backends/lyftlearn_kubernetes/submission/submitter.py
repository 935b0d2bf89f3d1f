"""Sending a plan. Everything but the Job is shared and harmless; the Job's creation is the commit point."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord, open_storage
from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn_kubernetes.api.cluster import CONFIG_MAPS, JOBS, SERVICES
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse, lyftlearn_error, translate_errors
from lyftlearn_kubernetes.status import jobs, observed
from lyftlearn_kubernetes.submission.planner import CREATE_JOB, CREATE_RUNTIME, CREATE_SERVICE, STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn.backend import JobSpec, Plan
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.jobs import JobObserver

CONFLICT = 409
SHARED = {CREATE_RUNTIME: CONFIG_MAPS, CREATE_SERVICE: SERVICES}


class JobCreator:
    """Sends plans to one cluster."""

    def __init__(self, cluster: Cluster, observer: JobObserver, storage_url: str) -> None:
        self._cluster = cluster
        self._observer = observer
        self._storage_url = storage_url
        self._there: set[str] = set()  # shared objects that this process knows to exist
        self._doubtful: set[str] = set()  # jobs whose creation was not answered
        self._lock = threading.Lock()

    def submit(self, plan: Plan) -> JobRecord:
        """Send `plan`, or find the job that an earlier try of it made."""
        for request in plan.requests:
            if request.operation == STORE:
                self._store(request.body)
            elif request.operation in SHARED:
                self._create_once(SHARED[request.operation], request.body, plan.spec.id)
        (job,) = (request.body for request in plan.requests if request.operation == CREATE_JOB)
        return self._create(plan.spec, job)

    def _store(self, body: Mapping[str, Any]) -> None:
        """Keep a part of a bundle under a name that follows from its content."""
        open_storage(self._storage_url).create(body["key"], body["content"].encode())

    def _create_once(self, kind: str, body: Mapping[str, Any], job_id: str) -> None:
        """Create an object that every job of a namespace uses, once; that it exists is as good."""
        name = body["metadata"]["name"]
        with self._lock:
            if name in self._there:
                return
        try:
            with translate_errors(f"creating {kind}"):
                self._create_shared(kind, body)
        except BackendUnavailable as exc:
            doubtful = job_id if job_id in self._doubtful else None
            raise BackendUnavailable(str(exc), doubtful) from exc.__cause__
        with self._lock:
            self._there.add(name)

    def _create_shared(self, kind: str, body: Mapping[str, Any]) -> None:
        try:
            self._cluster.create(kind, body)
        except ApiError as exc:
            if exc.status != CONFLICT:
                raise

    def _create(self, spec: JobSpec, body: Mapping[str, Any]) -> JobRecord:
        try:
            created = self._cluster.create(JOBS, body)
        except ApiError as exc:
            return self._settle(spec, exc)
        except NoResponse as exc:
            raise self._unknown_outcome(spec.id, str(exc), sent=exc.sent) from exc
        return JobRecord.of(spec, observed.moment(created["metadata"]["creationTimestamp"]))

    def _settle(self, spec: JobSpec, refused: ApiError) -> JobRecord:
        """Return the job that is there under this id: an earlier try may have been accepted, whatever is said now."""
        if refused.status != CONFLICT and not refused.maybe_applied and spec.id not in self._doubtful:
            raise lyftlearn_error(refused, "creating jobs", spec.id) from refused
        try:
            found = jobs.fetch(self._cluster, spec.id)
        except JobNotFound:
            raise self._unsettled_error(spec.id, refused) from refused
        except BackendUnavailable as exc:
            raise self._unknown_outcome(spec.id, str(exc), sent=True) from exc
        job = jobs.record(found, self._observer.event(observed.job(found), jobs.pods_of(self._cluster, spec.id)))
        if job.digest != spec.digest:
            message = f"the id {spec.id} belongs to a job with other arguments, or other content of source or inputs"
            raise Conflict(message, spec.id)
        return job

    def _unsettled_error(self, job_id: str, refused: ApiError) -> Exception:
        if refused.status == CONFLICT:
            return self._unknown_outcome(job_id, f"the job was there and is gone: {refused.message}", sent=True)
        return lyftlearn_error(refused, "creating jobs", job_id)

    def _unknown_outcome(self, job_id: str, why: str, *, sent: bool) -> BackendUnavailable:
        if sent:
            self._doubtful.add(job_id)
        doubtful = job_id if job_id in self._doubtful else None
        return BackendUnavailable(f"the Kubernetes API gave no answer while creating {job_id}: {why}", doubtful)
