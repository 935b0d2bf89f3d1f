"""Kueue: it holds Jobs back until their queue has room, and takes the room of those with a lower priority.

As Kueue 0.20 does, read off its source: the webhook suspends Jobs with a queue; each gets a Workload with the label
`job-uid`; preemption is suspension; conditions and their words are those of its scheduler.
"""

from __future__ import annotations

import re
import threading
from typing import Any

from tests.doubles.cluster.server import ApiServer
from tests.doubles.cluster.store import ApiError, Object, Store, now
from tests.doubles.cluster.validation import DNS_NAME

QUEUE, PRIORITY, JOB_UID = (f"kueue.x-k8s.io/{name}" for name in ("queue-name", "priority-class", "job-uid"))
SERVED = "kueue.x-k8s.io/v1beta2"
VISIBILITY = "visibility.kueue.x-k8s.io/v1beta2"
NO_ROOM = (
    "couldn't assign flavors to pod set main: insufficient unused quota for pods in flavor default, {more} more needed"
)
PREEMPTED = "Preempted to accommodate a workload (UID: {uid}) due to prioritization in the ClusterQueue"


class Kueue(threading.Thread):
    """quotas: how many pods each queue may have at once. priorities: of the priority classes.

    `checks` holds the states of admission checks by their names; a Workload starts when all are Ready.
    """

    def __init__(self, api: ApiServer, quotas: dict[str, int], priorities: dict[str, int] | None = None) -> None:
        super().__init__(daemon=True, name="kueue")
        self.quotas = quotas
        self.priorities = priorities or {}
        self.checks: dict[str, tuple[str, str]] = {}
        self._store: Store = api.store
        self._closed = threading.Event()
        api.extensions |= {SERVED, VISIBILITY}
        api.pending_workloads = self.pending
        api.admission.append(hold_back)
        self._api = api
        self.start()

    def close(self) -> None:
        self._closed.set()
        self._api.admission.remove(hold_back)
        self._api.extensions -= {SERVED, VISIBILITY}

    def run(self) -> None:
        while not self._closed.is_set():
            version = self._store.version
            for job in self._store.all("jobs"):
                if QUEUE in job["metadata"].get("labels", {}):
                    try:
                        self._sync(job)
                    except ApiError as error:
                        if error.code not in (404, 409):
                            raise
            self._store.wait(version, 0.3)

    def deactivate(self, job: Object, cause: str = "") -> None:
        """Kueue admits the job no more; a cause is its own, such as a check that was rejected."""
        workload = self._workload(job)
        self._change(workload, lambda item: item["spec"].update(active=False))
        message = f"The workload is deactivated{f' due to {cause}' if cause else ''}"
        self._condition(workload, "Evicted", "True", "Deactivated", message)
        if _is(workload, "QuotaReserved"):  # a workload that waits for quota keeps saying so
            self._condition(workload, "QuotaReserved", "False", "Pending", message)

    def pending(self, namespace: str, queue: str) -> list[Object]:
        """What the visibility API tells."""
        workloads = [item for item in self._workloads(namespace, queue) if item["spec"].get("active", True)]
        waiting = [item for item in workloads if not _is(item, "QuotaReserved")]
        return [
            {"metadata": {"name": item["metadata"]["name"]}, "positionInLocalQueue": place, "localQueueName": queue}
            for place, item in enumerate(self._in_order(waiting))
        ]

    def _sync(self, job: Object) -> None:
        workload = self._workload(job)
        if any(entry["type"] in ("Complete", "Failed") for entry in job["status"].get("conditions", ())):
            self._condition(workload, "Finished", "True", "Succeeded", "")
            self._condition(workload, "QuotaReserved", "False", "Finished", "")
        elif _is(workload, "QuotaReserved"):
            self._start(job, workload)
        else:
            self._suspend(job)
            if workload["spec"].get("active", True):
                self._admit(workload)

    def _workload(self, job: Object) -> Object:
        namespace, name = job["metadata"]["namespace"], f"job-{job['metadata']['name']}-a1b2c"
        found = self._store.find("workloads", namespace, name)
        if found is not None:
            return found
        labels, marks = job["metadata"]["labels"], {JOB_UID: job["metadata"]["uid"]}
        spec = {
            "queueName": labels[QUEUE],
            "priority": self.priorities.get(labels.get(PRIORITY, ""), 0),
            "podSets": [{"name": "main", "count": job["spec"]["parallelism"]}],
        }
        body = {"apiVersion": SERVED, "kind": "Workload", "metadata": {"name": name, "labels": marks}, "spec": spec}
        return self._store.create("workloads", namespace, {**body, "status": {}})

    def _admit(self, workload: Object) -> None:
        """Reserve quota, after taking it from those with a lower priority; else say what is missing."""
        queue, spec = workload["spec"]["queueName"], workload["spec"]
        holders = [
            item for item in self._workloads(workload["metadata"]["namespace"], queue) if _is(item, "QuotaReserved")
        ]
        needed = _count(workload) - (self.quotas[queue] - sum(map(_count, holders)))
        waiting = self.pending(workload["metadata"]["namespace"], queue)
        if needed <= 0 and waiting[0]["metadata"]["name"] == workload["metadata"]["name"]:
            self._condition(workload, "QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue")
            return
        self._condition(workload, "QuotaReserved", "False", "WaitingForQuota", NO_ROOM.format(more=max(1, needed)))
        for holder in sorted(holders, key=lambda item: item["spec"]["priority"]):
            if needed > 0 and holder["spec"]["priority"] < spec["priority"]:
                message = PREEMPTED.format(uid=workload["metadata"]["uid"])
                self._condition(holder, "Evicted", "True", "Preempted", message)
                self._condition(holder, "QuotaReserved", "False", "WaitingForQuota", message)
                needed -= _count(holder)

    def _start(self, job: Object, workload: Object) -> None:
        checks = [{"name": name, "state": state, "message": text} for name, (state, text) in self.checks.items()]
        self._change(workload, lambda item: item["status"].update(admissionChecks=checks))
        if all(check["state"] == "Ready" for check in checks):
            self._change(job, lambda item: item["spec"].update(suspend=False), "jobs")

    def _suspend(self, job: Object) -> None:
        self._change(job, lambda item: item["spec"].update(suspend=True), "jobs")

    def _workloads(self, namespace: str, queue: str) -> list[Object]:
        items = self._store.all("workloads", namespace)
        return [item for item in items if item["spec"]["queueName"] == queue and not _is(item, "Finished")]

    @staticmethod
    def _in_order(workloads: list[Object]) -> list[Object]:
        return sorted(workloads, key=lambda item: (-item["spec"]["priority"], int(item["metadata"]["resourceVersion"])))

    def _condition(self, workload: Object, kind: str, value: str, reason: str, message: str) -> None:
        entry = {"type": kind, "status": value, "reason": reason, "message": message}

        def change(item: Object) -> None:
            known = next((old for old in item["status"].get("conditions", ()) if old["type"] == kind), None)
            if known is None or any(known[key] != entry[key] for key in entry):
                others = [old for old in item["status"].get("conditions", ()) if old["type"] != kind]
                item["status"]["conditions"] = [*others, {**entry, "lastTransitionTime": now()}]

        self._change(workload, change)

    def _change(self, item: Object, change: Any, kind: str = "workloads") -> None:
        self._store.modify(kind, item["metadata"]["namespace"], item["metadata"]["name"], change)


def hold_back(verb: str, kind: str, item: Object) -> None:
    """What the webhook does with a new Job."""
    labels = item["metadata"].get("labels", {})
    if (verb, kind) != ("create", "jobs") or QUEUE not in labels:
        return
    for key in (QUEUE, PRIORITY):  # pkg/controller/jobframework/validation.go, ValidateLabelAsCRDName
        if key in labels and not re.fullmatch(DNS_NAME, labels[key]):
            raise ApiError(403, "Forbidden", f"metadata.labels[{key}]: Invalid value: a lowercase RFC 1123 subdomain")
    item["spec"]["suspend"] = True


def _is(workload: Object, kind: str) -> bool:
    return any(
        entry["type"] == kind and entry["status"] == "True" for entry in workload["status"].get("conditions", ())
    )


def _count(workload: Object) -> int:
    return sum(pod_set["count"] for pod_set in workload["spec"]["podSets"])
