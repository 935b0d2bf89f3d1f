"""The controller of Jobs: pods for each index, failure policies, deadlines, the last word, and cleaning up after it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

from tests.doubles.cluster.server import ApiServer, admit
from tests.doubles.cluster.store import ApiError, Object, Store, now, random_name

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF = 0.3
LONGEST_SLEEP = 0.5


class JobController(threading.Thread):
    """Looks at every Job when something changes, and twice a second."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(daemon=True, name="job-controller")
        self._api = api
        self._store: Store = api.store
        self._closed = threading.Event()
        self._not_before: dict[str, float] = {}
        self._done: dict[
            str, dict[str, tuple[str, int, str]]
        ] = {}  # by uid of the Job, then of its pods that have ended

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
            self._store.wait(version, LONGEST_SLEEP)

    def _sync(self, job: Object, pods: list[Object]) -> None:
        if _condition(job, "Complete") or _condition(job, "Failed"):
            self._after_the_end(job, pods)
            return
        spec, counts = job["spec"], self._count(job, pods)
        active = [pod for pod in pods if not _has_ended(pod)]
        target = _condition(job, "FailureTarget")
        if target is None and spec.get("suspend"):
            self._suspend(job, active)
            return
        if target is None:
            self._status(job, _note_start)
            target = self._failure(job, pods, counts)
        if target is not None:
            self._fail(job, active, counts, target)
        elif len(counts["indexes"]) >= spec.get("completions", 1):
            self._finish(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods", counts)
        else:
            self._status(job, lambda status: status.update(_numbers(active, counts)))
            self._create_missing(job, active, counts)

    def _suspend(self, job: Object, active: list[Object]) -> None:
        """End the pods, which then count as nothing: their finalizers go first, and so they are not seen to fail."""
        done = self._done.setdefault(job["metadata"]["uid"], {})
        for pod in active:
            done[pod["metadata"]["uid"]] = ("Suspended", _index(pod), "")
            self._let_go(pod)
            self._end_pod(pod)

        def change(status: Object) -> None:
            status.pop("startTime", None)
            if not _is_suspended(status):
                _set_condition(status, "Suspended", "JobSuspended", "Job suspended")

        self._status(job, change)

    def _count(self, job: Object, pods: list[Object]) -> dict[str, Any]:
        """Note what has ended, and take the finalizer from it."""
        done = self._done.setdefault(job["metadata"]["uid"], {})
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if _has_ended(pod):
                if uid not in done:
                    done[uid] = (pod["status"]["phase"], _index(pod), self._action(job, pod))
                self._let_go(pod)
        succeeded = {index for phase, index, _ in done.values() if phase == "Succeeded"}
        failed = sum(phase == "Failed" for phase, _, _ in done.values())
        return {"indexes": succeeded, "failed": failed, "fail_job": [action for *_, action in done.values() if action]}

    def _action(self, job: Object, pod: Object) -> str:
        """The message of the rule that fails the job for this pod, or nothing."""
        if pod["status"]["phase"] != "Failed":
            return ""
        for number, rule in enumerate(job["spec"].get("podFailurePolicy", {}).get("rules", ())):
            if "onPodConditions" in rule and any(_condition(pod, entry["type"]) for entry in rule["onPodConditions"]):
                return ""
            code = _exit_code(pod)
            if "onExitCodes" in rule and code not in (None, *rule["onExitCodes"]["values"]):
                name = pod["metadata"]["name"]
                failed = f"Container main for pod {name} failed with exit code {code}"
                return f"{failed} matching FailJob rule at index {number}"
        return ""

    def _failure(self, job: Object, pods: list[Object], counts: dict[str, Any]) -> Object | None:
        started = datetime.fromisoformat(self._fresh(job)["status"].get("startTime") or now())
        limit = job["spec"].get("activeDeadlineSeconds")
        if counts["fail_job"]:
            return {"reason": "PodFailurePolicy", "message": counts["fail_job"][0]}
        if counts["failed"] > job["spec"].get("backoffLimit", 6):
            return {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
        if limit is not None and (datetime.now(UTC) - started).total_seconds() >= limit:
            return {"reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}
        return None

    def _fail(self, job: Object, active: list[Object], counts: dict[str, Any], target: Object) -> None:
        if not _condition(job, "FailureTarget"):
            self._status(
                job, lambda status: _set_condition(status, "FailureTarget", target["reason"], target["message"])
            )
        for pod in active:
            self._end_pod(pod)
        if not active:
            self._finish(job, "Failed", target["reason"], target["message"], counts)

    def _finish(self, job: Object, kind: str, reason: str, message: str, counts: dict[str, Any]) -> None:
        def end(status: Object) -> None:
            _set_condition(status, kind, reason, message)
            status.update(_numbers([], counts))
            if kind == "Complete":
                status["completionTime"] = now()

        self._status(job, end)

    def _create_missing(self, job: Object, active: list[Object], counts: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        if time.monotonic() < self._not_before.get(name, 0):
            return
        indexed = job["spec"].get("completionMode") == "Indexed"
        there = {_index(pod) for pod in active}
        for index in range(job["spec"].get("completions", 1)):
            if index not in there | counts["indexes"]:
                try:
                    admit(
                        self._api, "create", "pods", job["metadata"]["namespace"], _pod(job, index if indexed else None)
                    )
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
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if "deletionTimestamp" not in pod["metadata"] and self._store.find("pods", namespace, name):
            self._store.modify(
                "pods", namespace, name, lambda item: item["metadata"].setdefault("deletionTimestamp", now()) and None
            )

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


def tell(store: Store, item: Object, kind: str, reason: str, message: str) -> None:
    """Write a warning about an object, once."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}"},
        "involvedObject": {"kind": kind, "namespace": namespace, "name": name},
        "type": "Warning",
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
    owners = pod["metadata"].get("ownerReferences") or [{}]
    uid: str | None = owners[0].get("uid")
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


def _numbers(active: list[Object], counts: dict[str, Any]) -> Object:
    return {"active": len(active), "failed": counts["failed"], "succeeded": len(counts["indexes"])}


def _is_suspended(status: Object) -> bool:
    return _condition({"status": status}, "Suspended") is not None


def _note_start(status: Object) -> None:
    status.setdefault("startTime", now())
    if _is_suspended(status):
        _set_condition(status, "Suspended", "JobResumed", "Job resumed", value="False")


def _condition(item: Object, kind: str) -> Object | None:
    found = (
        entry for entry in item["status"].get("conditions", ()) if entry["type"] == kind and entry["status"] == "True"
    )
    return next(found, None)


def _set_condition(status: Object, kind: str, reason: str, message: str, value: str = "True") -> None:
    condition = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now()}
    others = [entry for entry in status.get("conditions", ()) if entry["type"] != kind]
    status["conditions"] = [*others, condition]
