"""The controller of Jobs: pods for each index, failure policies, deadlines, the last word, and cleaning up after it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tests.doubles.cluster.server import ApiServer, admit
from tests.doubles.cluster.store import ApiError, Object, Store, now, random_name

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF = 0.3
AFTER_FAILURE = 1.5
"""Seconds from a pod's failure to the next pod. The real controller waits 10, and then twice as long each time."""
LONGEST_SLEEP = 0.5


class JobController(threading.Thread):
    """Looks at every Job when something changes, and twice a second."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(daemon=True, name="job-controller")
        self._api = api
        self._store: Store = api.store
        self._closed = threading.Event()
        self._not_before: dict[str, float] = {}
        self._done: dict[str, dict[str, tuple[str, int]]] = {}  # by uid of the Job, then of its pods that were counted

    def close(self) -> None:
        self._closed.set()

    def run(self) -> None:
        while not self._closed.is_set():
            version = self._store.version
            pods = self._store.all("pods")
            jobs = {job["metadata"]["uid"]: job for job in self._store.all("jobs")}
            for job in jobs.values():
                owned = [pod for pod in pods if _owner(pod) == job["metadata"]["uid"]]
                try:
                    self._sync(job, owned)
                except ApiError as error:
                    if error.code not in (404, 409):
                        raise
            for pod in pods:
                if _owner(pod) and _owner(pod) not in jobs:
                    self._let_go(pod)
                    self._end_pod(pod)
            self._collect_secrets()
            self._store.wait(version, LONGEST_SLEEP)

    def _collect_secrets(self) -> None:
        """As the garbage collector does, which looks for an owner anew before it removes anything."""
        with self._store.lock():
            jobs = {job["metadata"]["uid"] for job in self._store.all("jobs")}
            for secret in self._store.all("secrets"):
                if _owner(secret) and _owner(secret) not in jobs:
                    self._store.delete("secrets", secret["metadata"]["namespace"], secret["metadata"]["name"])

    def _sync(self, job: Object, pods: list[Object]) -> None:
        if _is_managed_elsewhere(job):
            return
        if _condition(job, "Complete") or _condition(job, "Failed"):
            self._after_the_end(job, pods)
            return
        spec, suspended = job["spec"], bool(job["spec"].get("suspend"))
        if not suspended:
            self._status(job, lambda status: status.setdefault("startTime", now()) and None)
        counts = self._count(job, pods)
        going = [pod for pod in pods if not _has_ended(pod)]
        target = _condition(job, "FailureTarget") or self._failure(job, pods, counts)
        if target is not None:
            self._fail(job, going, counts, target)
        elif len(counts["indexes"]) >= spec.get("completions", 1):
            self._finish(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods", counts)
        elif suspended:
            self._suspend(job, going, counts)
        else:
            self._status(job, lambda status: _note_resumption(status, _numbers(going, counts)))
            self._trim(job, going)
            self._create_missing(job, going, counts)

    def _suspend(self, job: Object, going: list[Object], counts: dict[str, Any]) -> None:
        """End the pods, which then count as nothing: their finalizers go first. A policy still judges how they end."""
        for pod in going:
            self._release(pod)

        def change(status: Object) -> None:
            status.pop("startTime", None)
            status.update(_numbers(going, counts))
            if not _is_suspended(status):
                _set_condition(status, "Suspended", "JobSuspended", "Job suspended")

        self._status(job, change)

    def _trim(self, job: Object, going: list[Object]) -> None:
        """End the pods that are more than `parallelism`."""
        active = [pod for pod in going if "deletionTimestamp" not in pod["metadata"]]
        for pod in active[job["spec"].get("parallelism", 1) :]:
            self._release(pod)

    def _release(self, pod: Object) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            self._let_go(pod)
            self._end_pod(pod)

    def _count(self, job: Object, pods: list[Object]) -> dict[str, Any]:
        """Note what has ended and has its finalizer, and take that from it."""
        done = self._done.setdefault(job["metadata"]["uid"], {})
        for pod in pods:
            if _has_ended(pod) and FINALIZER in pod["metadata"].get("finalizers", ()):
                if pod["metadata"]["uid"] not in done:
                    done[pod["metadata"]["uid"]] = (pod["status"]["phase"], _index(pod))
                    self._back_off(job, pod)
                self._let_go(pod)
        succeeded = {index for phase, index in done.values() if phase == "Succeeded"}
        return {"indexes": succeeded, "failed": sum(phase == "Failed" for phase, _ in done.values())}

    def _back_off(self, job: Object, pod: Object) -> None:
        if pod["status"]["phase"] == "Failed":
            self._not_before[job["metadata"]["name"]] = time.monotonic() + AFTER_FAILURE

    def _failure(self, job: Object, pods: list[Object], counts: dict[str, Any]) -> Object | None:
        """Why the Job fails. The policy judges every pod that is there, also those that count as nothing."""
        for pod in filter(_has_ended, pods):
            message = _fail_job_message(job, pod)
            if message:
                return {"reason": "PodFailurePolicy", "message": message}
        if counts["failed"] > job["spec"].get("backoffLimit", 6):
            return {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
        if self._is_past_deadline(job):
            return {"reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}
        return None

    def _is_past_deadline(self, job: Object) -> bool:
        limit = job["spec"].get("activeDeadlineSeconds")
        if limit is None or job["spec"].get("suspend"):
            return False
        started = datetime.fromisoformat(self._fresh(job)["status"].get("startTime") or now())
        nanoseconds = (limit * 10**9 + 2**63) % 2**64 - 2**63  # a time.Duration of Go, which runs over
        return bool((datetime.now(UTC) - started).total_seconds() >= nanoseconds / 10**9)

    def _fail(self, job: Object, going: list[Object], counts: dict[str, Any], target: Object) -> None:
        if not _condition(job, "FailureTarget"):
            self._status(
                job, lambda status: _set_condition(status, "FailureTarget", target["reason"], target["message"])
            )
        for pod in going:
            self._end_pod(pod)
        if not going:
            self._finish(job, "Failed", target["reason"], target["message"], counts)

    def _finish(self, job: Object, kind: str, reason: str, message: str, counts: dict[str, Any]) -> None:
        def end(status: Object) -> None:
            _set_condition(status, kind, reason, message)
            status.update(_numbers([], counts))
            if kind == "Complete":
                status["completionTime"] = now()

        self._status(job, end)

    def _create_missing(self, job: Object, going: list[Object], counts: dict[str, Any]) -> None:
        """Create pods for what is left, at most `parallelism` at once; one that ends still holds its place."""
        spec, name = job["spec"], job["metadata"]["name"]
        if time.monotonic() < self._not_before.get(name, 0):
            return
        settled = {_index(pod) for pod in going} | counts["indexes"]
        missing = [index for index in range(spec.get("completions", 1)) if index not in settled]
        for index in missing[: max(0, spec.get("parallelism", 1) - len(going))]:
            pod = _pod(job, index if spec.get("completionMode") == "Indexed" else None)
            try:
                admit(self._api, "create", "pods", job["metadata"]["namespace"], pod)
            except ApiError as error:
                self._not_before[name] = time.monotonic() + BACKOFF
                self.tell(job, "Job", "FailedCreate", f"Error creating: {error.message}")

    def tell(self, item: Object, kind: str, reason: str, message: str) -> None:
        """Write an Event about an object."""
        tell(self._store, item, kind, reason, message)

    def _after_the_end(self, job: Object, pods: list[Object]) -> None:
        keep = job["spec"].get("ttlSecondsAfterFinished")
        for pod in pods:
            self._let_go(pod)
        ended = _condition(job, "Complete") or _condition(job, "Failed") or {}
        age = datetime.now(UTC) - datetime.fromisoformat(ended["lastTransitionTime"])
        if keep is not None and age.total_seconds() >= keep:
            self._store.delete("jobs", job["metadata"]["namespace"], job["metadata"]["name"])

    def _fresh(self, job: Object) -> Object:
        return self._store.get("jobs", job["metadata"]["namespace"], job["metadata"]["name"])

    def _status(self, job: Object, change: Any) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        self._store.modify("jobs", namespace, name, lambda item: change(item["status"]) and None)

    def _end_pod(self, pod: Object) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            with suppress(ApiError):
                self._store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _let_go(self, pod: Object) -> None:
        if FINALIZER in pod["metadata"].get("finalizers", ()) and self._store.find(
            "pods", pod["metadata"]["namespace"], pod["metadata"]["name"]
        ):
            self._store.modify(
                "pods",
                pod["metadata"]["namespace"],
                pod["metadata"]["name"],
                lambda item: (
                    item["metadata"]["finalizers"].remove(FINALIZER)
                    if FINALIZER in item["metadata"].get("finalizers", ())
                    else None
                ),
            )


def tell(store: Store, item: Object, kind: str, reason: str, message: str, *, severity: str = "Warning") -> None:
    """Write an Event about an object, once."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}"},
        "involvedObject": {"kind": kind, "namespace": namespace, "name": name},
        "type": severity,
        "reason": reason,
        "message": message,
        "lastTimestamp": now(),
    }
    try:
        store.create("events", namespace, event)
    except ApiError:
        store.modify("events", namespace, event["metadata"]["name"], lambda found: found.update(message=message))  # type: ignore[index]


def _pod(job: Object, index: int | None) -> Object:
    template = job["spec"]["template"]
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {
        **template["metadata"].get("labels", {}),
        "batch.kubernetes.io/job-name": name,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
    }
    annotations = dict(template["metadata"].get("annotations", {}))
    spec = {**template["spec"]}
    if index is not None:
        annotations[INDEX] = labels[INDEX] = str(index)
        spec["hostname"] = f"{name}-{index}"
        variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
        spec["containers"] = [
            {**container, "env": [*container.get("env", ()), variable]} for container in spec["containers"]
        ]
    middle = f"{name}-{index}" if index is not None else name
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{middle}-{random_name()}",
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner],
            "finalizers": [FINALIZER],
        },
        "spec": spec,
        "status": {"phase": "Pending"},
    }


def _owner(pod: Object) -> str | None:
    """The uid of the Job that an object belongs to."""
    owners = (owner for owner in pod["metadata"].get("ownerReferences") or () if owner["kind"] == "Job")
    uid: str | None = next((owner["uid"] for owner in owners), None)
    return uid


def _index(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(INDEX) or 0)


def _has_ended(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _exit_code(pod: Object) -> int | None:
    for status in pod["status"].get("containerStatuses", ()):
        if status["name"] == "main" and "terminated" in status["state"]:
            code: int = status["state"]["terminated"]["exitCode"]
            return code
    return None


def _fail_job_message(job: Object, pod: Object) -> str:
    """The message of the rule that fails the Job for this pod, or nothing."""
    if pod["status"]["phase"] != "Failed":
        return ""
    for number, rule in enumerate(job["spec"].get("podFailurePolicy", {}).get("rules", ())):
        if "onPodConditions" in rule and any(_condition(pod, entry["type"]) for entry in rule["onPodConditions"]):
            return ""
        code = _exit_code(pod)
        if "onExitCodes" in rule and code not in (None, 0) and _matches(rule["onExitCodes"], code):
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            failed = f"Container main for pod {name} failed with exit code {code}"
            return f"{failed} matching FailJob rule at index {number}" if rule["action"] == "FailJob" else ""
    return ""


def _matches(requirement: Object, code: int) -> bool:
    within: bool = code in requirement["values"]
    return within if requirement["operator"] == "In" else not within


def _is_managed_elsewhere(job: Object) -> bool:
    return job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller")


def _numbers(going: list[Object], counts: dict[str, Any]) -> Object:
    terminating = sum("deletionTimestamp" in pod["metadata"] for pod in going)
    return {
        "active": len(going) - terminating,
        "terminating": terminating,
        "failed": counts["failed"],
        "succeeded": len(counts["indexes"]),
    }


def _is_suspended(status: Object) -> bool:
    return _condition({"status": status}, "Suspended") is not None


def _note_resumption(status: Object, numbers: Object) -> None:
    status.update(numbers)
    if _is_suspended(status):
        _set_condition(status, "Suspended", "JobResumed", "Job resumed", value="False")
        status["startTime"] = now()


def _condition(item: Object, kind: str) -> Object | None:
    found = (
        entry for entry in item["status"].get("conditions", ()) if entry["type"] == kind and entry["status"] == "True"
    )
    return next(found, None)


def _set_condition(status: Object, kind: str, reason: str, message: str, value: str = "True") -> None:
    condition = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now()}
    others = [entry for entry in status.get("conditions", ()) if entry["type"] != kind]
    status["conditions"] = [*others, condition]
