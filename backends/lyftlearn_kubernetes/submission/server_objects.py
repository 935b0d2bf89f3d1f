"""What serves a model on a cluster, as plain data: the pod of a job, kept alive, in the objects of a serving system.

Sources: KServe's ComponentExtensionSpec (annotations and labels go to the pod; the container is `kserve-container`) and
Seldon's operator 1.x (`createDeploymentWithoutEngine`: it takes labels and annotations over, but gives the pod a
security context of its own; the graph's unit is the container of its name; its port is called `http`).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Request
from lyftlearn_kubernetes import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lyftlearn.backend import ServingSpec
    from lyftlearn_kubernetes.options import Options

DEPLOYMENT, KSERVE, SELDON = "deployment", "kserve", "seldon"
LABEL = "lyftlearn/server"
SUBSTRATE = "kubernetes-serving"
PING = "/ping"
READY_FILE = ".serving-ready"  # the runtime's: the number of its process, and the tick in which that started
_SECONDS_TO_DRAIN = 5  # for the endpoints of a pod that ends to be forgotten, before its server is told to stop
_LOOK, _SECONDS_TO_PING = 5, 2
_LONGEST_NAME = 40  # KServe and Seldon add words of their own to names of 63 characters
# The self-test was passed by the container that runs now, and not by one that was in this pod before it.
_PASSED = (
    "import sys; pid, tick = open(sys.argv[1]).read().split(); "
    "sys.exit(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[19] != tick)"
)
_DRAIN = f"import time; time.sleep({_SECONDS_TO_DRAIN})"


def container_fields(serving: ServingSpec, root: str, options: Options) -> dict[str, Any]:
    """Return what tells the cluster where the server listens, and when it is ready: after its self-test."""
    return {
        "ports": [{"name": "http", "containerPort": serving.port, "protocol": "TCP"}],
        "startupProbe": {
            "exec": {"command": _python(_PASSED, f"{root}/{READY_FILE}")},
            "periodSeconds": _LOOK,
            "timeoutSeconds": _LOOK,
            "failureThreshold": math.ceil(options.starting.total_seconds() / _LOOK),
        },
        "readinessProbe": {
            "httpGet": {"path": PING, "port": serving.port},
            "periodSeconds": _LOOK,
            "timeoutSeconds": _SECONDS_TO_PING,
        },
        "lifecycle": {"preStop": {"exec": {"command": _python(_DRAIN)}}},
    }


def server_name(model: str) -> str:
    """Return what the server of a model is called: always the same, so that a new model replaces the old one."""
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).lstrip("-0123456789")[:_LONGEST_NAME].strip("-")
    return f"{slug or 'model'}-server"


class ServerObjects:
    """The objects around a pod template."""

    def __init__(self, model: str, template: dict[str, Any], port: int, options: Options) -> None:
        self._name = server_name(model)
        self._port = port
        self._namespace = {"namespace": options.namespace} if options.namespace else {}
        self._own = {labels.MANAGED_BY: labels.OURS, LABEL: self._name}
        template["metadata"]["labels"] |= self._own
        self._template = template

    def requests(self, layout: str) -> Iterator[Request]:
        """Yield the requests that make them, in the order of creation."""
        for body in LAYOUTS[layout](self):
            yield Request(operation=f"create {body['kind']}", body=body)

    def deployment(self) -> list[dict[str, Any]]:
        """Return a Deployment, and a Service in front of it. How many pods it has is left to whoever scales it."""
        selector = {LABEL: self._name}
        ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        deployed = {"selector": {"matchLabels": selector}, "strategy": strategy, "template": self._template}
        return [
            self._object("apps/v1", "Deployment", deployed),
            self._object("v1", "Service", {"selector": selector, "ports": ports}),
        ]

    def kserve(self) -> list[dict[str, Any]]:
        """Return an InferenceService whose pods are a plain Deployment's: Knative allows fewer kinds of volumes."""
        metadata, spec = self._template["metadata"], self._template["spec"]
        predictor = {
            **spec,
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
            "minReplicas": 1,
            "containers": [{**spec["containers"][0], "name": "kserve-container"}],
        }
        mode = {"serving.kserve.io/deploymentMode": "RawDeployment"}
        return [self._object("serving.kserve.io/v1beta1", "InferenceService", {"predictor": predictor}, mode)]

    def seldon(self) -> list[dict[str, Any]]:
        """Return a SeldonDeployment without its orchestrator: the requests reach the server as they are."""
        metadata, spec = self._template["metadata"], self._template["spec"]
        user = {key: value for key, value in spec["securityContext"].items() if key.startswith("runAs")}
        container = spec["containers"][0]
        container = {**container, "securityContext": {**container["securityContext"], **user}}
        predictor = {
            "name": "default",
            "replicas": 1,
            "annotations": {"seldon.io/no-engine": "true"},
            "componentSpecs": [{"metadata": metadata, "spec": {**spec, "containers": [container]}}],
            "graph": {
                "name": container["name"],
                "type": "MODEL",
                "endpoint": {"type": "REST", "service_port": self._port, "httpPort": self._port},
                "children": [],
            },
        }
        return [self._object("machinelearning.seldon.io/v1", "SeldonDeployment", {"predictors": [predictor]})]

    def _object(
        self, version: str, kind: str, spec: dict[str, Any], annotations: dict[str, str] | None = None
    ) -> dict[str, Any]:
        metadata = {"name": self._name, **self._namespace, "labels": self._own}
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {**metadata, **({"annotations": annotations} if annotations else {})},
            "spec": spec,
        }


def _python(program: str, *arguments: str) -> list[str]:
    """Return a command for an image of which nothing is known but that it has Python."""
    return ["python3", "-I", "-S", "-c", program, *arguments]


LAYOUTS: dict[str, Callable[[ServerObjects], list[dict[str, Any]]]] = {
    DEPLOYMENT: ServerObjects.deployment,
    KSERVE: ServerObjects.kserve,
    SELDON: ServerObjects.seldon,
}
