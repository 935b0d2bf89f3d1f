"""The whole cluster, started and ended."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.containers import require_containers
from tests.doubles.cluster.access import Access
from tests.doubles.cluster.collector import Collector
from tests.doubles.cluster.ingress import IngressController
from tests.doubles.cluster.job_controller import JobController
from tests.doubles.cluster.kubelet import Kubelet, Node
from tests.doubles.cluster.network import Network
from tests.doubles.cluster.server import ApiServer, admit
from tests.doubles.cluster.service_accounts import DEFAULT_ACCOUNT, make_certificate
from tests.doubles.cluster.store import Object, Store, now

NAMESPACE = "ml"
IMAGE = "example.com/base:1"
NO_PYTHON = "example.com/no-python:1"


class Cluster:
    """One server, one controller, one node, on this machine."""

    def __init__(
        self,
        directory: Path,
        access: Access | None = None,
        version: str = "1.36",
        *,
        network: Network | None = None,
    ) -> None:
        require_containers()
        self.network = network
        self.directory = directory
        self.store = Store()
        self.create_namespace(NAMESPACE)
        search = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.node = Node(images={IMAGE: search, NO_PYTHON: str(directory)})
        host = network.gateway if network else "127.0.0.1"
        certificate = make_certificate(directory / "pki", host)
        self.api = ApiServer(self.store, self._log, version, access, certificate, secure_host=host)
        self.api.start()
        self.kubelet = Kubelet(
            self.store, directory / "kubelet", self.node, self.api.secure_port, certificate.certificate, network=network
        )
        self.collector = Collector(self.store) if network else None
        if self.collector:
            self.collector.start()
        self.api.process_of = self._process_of
        self.controller = JobController(self.api)
        self.ingress = IngressController(self.store, self.kubelet)
        self.kubelet.start()
        self.controller.start()

    def _process_of(self, pod: Object) -> int | None:
        runner = self.kubelet.runner(pod)
        return runner._child if runner else None

    def _log(self, pod: Object, container: str, params: dict[str, str]) -> Iterator[bytes]:
        return self.kubelet.log(pod, container, params)

    def close(self) -> None:
        if self.collector:
            self.collector.close()
        self.ingress.close()
        self.controller.close()
        self.kubelet.close()
        self.api.stop()

    def kubeconfig(self, token: str = "anything", url: str | None = None, name: str = "kubeconfig") -> Path:
        """Write a file that leads here."""
        path = self.directory / name
        cluster = {"name": "test", "cluster": {"server": url or self.api.url}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "users": [{"name": "test", "user": {"token": token}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path

    def create_secret(self, name: str, values: dict[str, str]) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        admit(self.api, "create", "secrets", NAMESPACE, secret)

    def create_namespace(self, name: str) -> None:
        """With the account `default`, which a controller makes in each: pods are refused without one."""
        self.store.create("namespaces", "", {"metadata": {"name": name}})
        self.create_account(DEFAULT_ACCOUNT, name)

    def create_account(self, name: str, namespace: str = NAMESPACE) -> None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        self.store.create("serviceaccounts", namespace, account)

    def job(self, job_id: str) -> Object:
        return self.store.get("jobs", NAMESPACE, job_id)

    def pods(self, job_id: str) -> list[Object]:
        found = self.store.all("pods", NAMESPACE)
        return [pod for pod in found if (pod["metadata"].get("labels") or {}).get("lyftlearn/job") == job_id]

    def has_container(self, pod: Object) -> bool:
        """Whether the pod's first process is there; it may still be far from its first own instruction."""
        runner = self.kubelet.runner(pod)
        return runner is not None and runner.has_container

    def evict(self, pod: Object, message: str = 'Usage of EmptyDir volume "work" exceeds the limit "1Gi". ') -> None:
        """The pod has used more disk than it may; the kubelet ends it and collects its containers."""
        runner = self.kubelet.runner(pod)
        assert runner is not None
        self.kubelet.collected.add(pod["metadata"]["uid"])
        runner.evict(message)

    def drain(self, pod: Object) -> None:
        """The eviction API ends the pod, as a drain does: SIGTERM and its grace, and then it is gone with its log."""
        self.disrupt(pod["metadata"]["name"], "EvictionByEvictionAPI", "Eviction API: evicting")

    def disrupt(self, pod: str, reason: str, message: str) -> None:
        """End a pod for the platform's sake: a condition says why, and then it is deleted."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now(),
        }
        self.store.modify(
            "pods", NAMESPACE, pod, lambda item: item["status"].setdefault("conditions", []).append(condition)
        )
        self.store.delete("pods", NAMESPACE, pod)

    def suspend(self, job_id: str, *, wish: bool) -> None:
        """What Kueue does to preempt a job, and to admit it again."""
        self.store.modify("jobs", NAMESPACE, job_id, lambda item: item["spec"].update(suspend=wish))

    def lose_node_of(self, pod: Object) -> None:
        """The node dies: its processes at once, and the control plane notices."""
        runner = self.kubelet.runner(pod)
        assert runner is not None
        runner.kill()
        name = pod["metadata"]["name"]
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": now(),
        }

        def fail(item: Object) -> None:
            item["status"]["phase"] = "Failed"
            item["status"]["conditions"] = [*item["status"].get("conditions", ()), condition]

        self.store.modify("pods", NAMESPACE, name, fail)
