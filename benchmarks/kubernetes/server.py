"""The API server of the benchmark: `python -m benchmarks.kubernetes.server DIRECTORY`; prints its port.

Beside the API it answers `/bench/calls` (what was asked so far, and when the last object came), and `/bench/end`, which
runs every Job to its end and says when each had ended.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.doubles.cluster import server, validation
from tests.doubles.cluster.cluster import NAMESPACE
from tests.doubles.cluster.store import ApiError, Object, Store, now

OTHERS = {"batch.volcano.sh": "VolcanoJob", "trainer.kubeflow.org": "TrainJob"}
REPORT = 'lyftlearn/1 {"exit_code":0,"reason":null,"attempt":1,"started_at":0}\n'
TRAINER = {"name": "node", "image": "example.com/base:1"}
RUNTIME: Object = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {"numProcPerNode": "auto"}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {"template": {"spec": {"containers": [TRAINER]}}},
                        },
                    }
                ]
            }
        },
    },
}
last_create = 0.0


class Request(server.Request):
    """Knows two more kinds of objects, and the benchmark's own questions."""

    def answer(self) -> tuple[int, Object] | None:
        global last_create  # noqa: PLW0603 - one server, one process
        if self.words[:1] == ["bench"]:
            return self._bench(self.words[1])
        if self.method == "POST":
            last_create = time.monotonic()
        if self.words[:1] == ["apis"] and self.words[1] in OTHERS:
            self.namespace, self.kind = NAMESPACE, OTHERS[self.words[1]]
            return self._other()
        return super().answer()

    def _other(self) -> tuple[int, Object]:
        if self.words[-2:] == ["clustertrainingruntimes", RUNTIME["metadata"]["name"]]:
            return 200, RUNTIME
        if self.method != "POST":
            raise ApiError(404, "NotFound", "not here")
        self.api.calls[f"create {self.kind}"] += 1
        return 201, self.store.create(self.kind, self.namespace, self._parse_body())

    def _bench(self, question: str) -> tuple[int, Object]:
        if question == "calls":
            return 200, {"calls": dict(self.api.calls), "last_create": last_create}
        return 200, end_all(self.store)


def end_all(store: Store) -> dict[str, float]:
    """Give every Job a pod that runs and succeeds, and return when its Job was said to be complete."""
    ends = {}
    names = [job["metadata"]["name"] for job in store.all("jobs", NAMESPACE) if not job["status"]]
    for name in names:
        _run(store, name)
    for name in names:
        _succeed(store, name)
        ends[name] = time.monotonic()
        time.sleep(0.002)
    return ends


def _run(store: Store, name: str) -> None:
    template = store.get("jobs", NAMESPACE, name)["spec"]["template"]
    state: Any = {"running": {"startedAt": now()}}
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [{"name": "main", "state": state}]}
    metadata = {"name": f"{name}-abcde", **json.loads(json.dumps(template["metadata"]))}
    store.create("pods", NAMESPACE, {"metadata": metadata, "spec": template["spec"], "status": status})


def _succeed(store: Store, name: str) -> None:
    def end_pod(pod: Object) -> None:
        (main,) = pod["status"]["containerStatuses"]
        ended = {"exitCode": 0, "reason": "Completed", "message": REPORT, "finishedAt": now()}
        main["state"] = {"terminated": {**main["state"]["running"], **ended}}
        pod["status"]["phase"] = "Succeeded"

    def end_job(job: Object) -> None:
        complete = {"type": "Complete", "status": "True", "lastTransitionTime": now()}
        job["status"].update(succeeded=1, completionTime=now(), conditions=[complete])

    store.modify("pods", NAMESPACE, f"{name}-abcde", end_pod)
    store.modify("jobs", NAMESPACE, name, end_job)


def main() -> None:
    validation.check = lambda *_: None
    server.Request = Request  # type: ignore[misc]
    store = Store()
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
    api = server.ApiServer(store, lambda *_: iter(()))
    api.start()
    user = {"name": "bench", "user": {"token": "bench"}}
    context = {"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": NAMESPACE}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": api.url}}],
        "contexts": [context],
        "users": [user],
        "current-context": "bench",
    }
    Path(sys.argv[1], "kubeconfig").write_text(yaml.safe_dump(document))  # as people have it
    Path(sys.argv[1], "address").write_text(api.url)
    print(api.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
