"""Sending a plan. Everything but the Job is shared and harmless; the Job's creation is the commit point."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord, open_storage
from lyftlearn.errors import BackendUnavailable, Conflict, InvalidJob, LyftLearnError
from lyftlearn_kubernetes.api.cluster import (
    CLAIMS,
    CONFIG_MAPS,
    INGRESSES,
    JOBS,
    NETWORK_POLICIES,
    SERVICES,
    moment,
)
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse, lyftlearn_error, translate_errors
from lyftlearn_kubernetes.submission.planner import (
    CREATE_CLAIM,
    CREATE_GROUP,
    CREATE_INGRESS,
    CREATE_JOB,
    CREATE_POLICY,
    CREATE_RUNTIME,
    CREATE_SERVICE,
    STORE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lyftlearn.backend import JobSpec, Plan
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.finder import JobFinder
    from lyftlearn_kubernetes.submission.gangs import Gang

POD_GROUPS, APIS = "podgroups", "/apis"
_log = logging.getLogger("lyftlearn")
BELIEVED_SECONDS = 600.0
"""Somebody may tidy up: after so long a shared object is created again, and found to exist."""
TURN_SECONDS = 10.0
"""How long a thread waits for another that creates a shared object: that one may wait for a server that is away."""
SHARED = {
    CREATE_RUNTIME: CONFIG_MAPS,
    CREATE_SERVICE: SERVICES,
    CREATE_CLAIM: CLAIMS,
    CREATE_POLICY: NETWORK_POLICIES,
    CREATE_INGRESS: INGRESSES,
}


class JobCreator:
    """Sends plans to one cluster. finder: gives what finds jobs, where an answer leaves open what became of one."""

    def __init__(
        self, cluster: Cluster, finder: Callable[[], JobFinder], storage_url: str, gang: Callable[[JobSpec], Gang]
    ) -> None:
        self._cluster = cluster
        self._finder = finder
        self._storage_url = storage_url
        self._gang = gang
        self._apis: frozenset[str] = frozenset()
        self._there: dict[str, float] = {}  # shared objects, and when this process last knew them to exist
        self._sharing = threading.Lock()
        self._doubtful: set[str] = set()  # jobs whose creation was not answered

    def submit(self, plan: Plan) -> JobRecord:
        """Send `plan`, or find the job that an earlier try of it made.

        Only the first answer to the creation refuses anything. After a silence nothing does, whatever it is.
        """
        try:
            record = self._send(plan)
        except LyftLearnError as exc:
            settled = isinstance(exc, Conflict) or (isinstance(exc, BackendUnavailable) and exc.job_id is not None)
            if settled or plan.spec.id not in self._doubtful:
                raise
            raise self._unknown_outcome(plan.spec.id, str(exc)) from exc
        self._doubtful.discard(plan.spec.id)
        return record

    def _send(self, plan: Plan) -> JobRecord:
        groups: list[Mapping[str, Any]] = []
        for request in plan.requests:
            if request.operation == STORE:
                self._store(request.body)
            elif request.operation == CREATE_GROUP:
                self._create_configured_group(request.body)
                groups.append(request.body)
            elif request.operation in SHARED:
                self._create_shared(SHARED[request.operation], request.body)
        (job,) = (request.body for request in plan.requests if request.operation == CREATE_JOB)
        if gang := self._found_gang(plan.spec):
            groups.append(gang.pod_group())
            job = gang.with_group(job)
        record = self._create(plan.spec, job)
        for group in groups:
            self._give_to_job(group)
        return record

    def _create_configured_group(self, group: Mapping[str, Any]) -> None:
        """Create the PodGroup that the configuration demands; a cluster without such groups refuses the job."""
        try:
            self._create_once(POD_GROUPS, group)
        except BackendUnavailable as exc:
            api = group["apiVersion"]
            with translate_errors("asking for the cluster's APIs"):
                served = self._cluster.served_apis()
            if api in served:
                raise
            raise InvalidJob(
                [("gang", f"the cluster does not have {api}; `lyftlearn doctor` says what it has")]
            ) from exc

    def _found_gang(self, spec: JobSpec) -> Gang | None:
        """Return the gang of a job for which a PodGroup was created, because the cluster has them and nobody said no.

        A cluster that does not tell, or does not grant it, lets nodes start one by one, as one without PodGroups does.
        """
        gang = self._gang(spec)
        if not gang.is_looked_for:
            return None
        try:
            found = gang.on(self._served_apis())
            if found.exists:
                self._create_once(POD_GROUPS, found.pod_group())
        except (ApiError, NoResponse, LyftLearnError) as exc:
            _log.warning("%s has no PodGroup, so its nodes start one by one: %s", spec.id, exc)
            return None
        return found if found.exists else None

    def _served_apis(self) -> frozenset[str]:
        if not self._is_believed(APIS):
            self._apis = self._cluster.served_apis()
            self._there[APIS] = time.monotonic()
        return self._apis

    def _give_to_job(self, group: Mapping[str, Any]) -> None:
        """Make a PodGroup go when its Job goes. Without that it stays, and is in nobody's way."""
        name = group["metadata"]["name"]
        try:
            uid = self._cluster.get(JOBS, name)["metadata"]["uid"]
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
            path = f"/apis/{group['apiVersion']}/namespaces/{self._cluster.namespace}/{POD_GROUPS}/{name}"
            self._cluster.ask("PATCH", path, body={"metadata": {"ownerReferences": [owner]}})
        except (ApiError, NoResponse, LyftLearnError) as exc:
            _log.info("the PodGroup of %s outlives its Job: %s", name, exc)

    def _store(self, body: Mapping[str, Any]) -> None:
        """Keep a part of a bundle under a name that follows from its content."""
        open_storage(self._storage_url).create(body["key"], body["content"].encode())

    def _create_shared(self, kind: str, body: Mapping[str, Any]) -> None:
        """Create an object that every job of a namespace uses, once; that it exists is as good."""
        key = f"{kind}/{body['metadata']['name']}"
        if self._is_believed(key):
            return
        with self._turn():
            if not self._is_believed(key):
                self._create_once(kind, body)
                self._there[key] = time.monotonic()

    def _is_believed(self, key: str) -> bool:
        return time.monotonic() - self._there.get(key, float("-inf")) < BELIEVED_SECONDS

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one thread send what all need: a copy of the runtime for each of many threads takes much memory."""
        is_mine = self._sharing.acquire(timeout=TURN_SECONDS)
        try:
            yield
        finally:
            if is_mine:
                self._sharing.release()

    def _create_once(self, kind: str, body: Mapping[str, Any]) -> None:
        """Create an object, or find that an earlier try did."""
        try:
            with translate_errors(f"creating {kind}"):
                self._cluster.create(kind, body)
        except LyftLearnError as exc:
            if not (isinstance(exc.__cause__, ApiError) and exc.__cause__.already_exists):
                raise

    def _create(self, spec: JobSpec, body: Mapping[str, Any]) -> JobRecord:
        try:
            created = self._cluster.create(JOBS, body)
        except ApiError as exc:
            return self._settle(spec, exc)
        except NoResponse as exc:
            if exc.sent:
                self._doubtful.add(spec.id)
            raise BackendUnavailable(f"the Kubernetes API gave no answer while creating {spec.id}: {exc}") from exc
        return JobRecord.of(spec, moment(created["metadata"]["creationTimestamp"]))

    def _settle(self, spec: JobSpec, error: ApiError) -> JobRecord:
        """Return the job that is there under this id: an earlier try may have been accepted, whatever is said now."""
        if error.maybe_applied or error.already_exists or not error.definite:
            self._doubtful.add(spec.id)
        if spec.id not in self._doubtful:
            raise lyftlearn_error(error, "creating jobs") from error
        try:
            return self._finder().accepted_record(spec)
        except Conflict:
            self._doubtful.discard(spec.id)
            raise
        except LyftLearnError as exc:
            raise self._unknown_outcome(spec.id, f"{error.message}; asked for the job: {exc}") from exc

    def _unknown_outcome(self, job_id: str, why: str) -> BackendUnavailable:
        return BackendUnavailable(f"nobody can say whether {job_id} was accepted: {why}", job_id)
