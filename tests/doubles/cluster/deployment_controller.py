"""The controller of Deployments, as far as one pod of each goes: another is made when it has ended."""

from __future__ import annotations

import threading

from tests.doubles.cluster.server import ApiServer, admit
from tests.doubles.cluster.store import Object, random_name

LONGEST_SLEEP = 0.5


class DeploymentController(threading.Thread):
    """Looks at every Deployment when something changes, and twice a second."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(daemon=True, name="deployment-controller")
        self._api = api
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def run(self) -> None:
        store = self._api.store
        while not self._closed.is_set():
            version = store.version
            for deployment in store.all("deployments"):
                if not any(_is_alive(pod) for pod in self.pods(deployment)):
                    self._make_pod(deployment)
            store.wait(version, LONGEST_SLEEP)

    def pods(self, deployment: Object) -> list[Object]:
        """Those that its selector finds."""
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        every = self._api.store.all("pods", deployment["metadata"]["namespace"])
        return [pod for pod in every if wanted <= pod["metadata"]["labels"].items()]

    def _make_pod(self, deployment: Object) -> None:
        template, metadata = deployment["spec"]["template"], deployment["metadata"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": f"{metadata['name']}-{random_name()}"},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        admit(self._api, "create", "pods", metadata["namespace"], pod)


def _is_alive(pod: Object) -> bool:
    return pod["status"]["phase"] not in ("Failed", "Succeeded")
