"""A driver whose executors are pods on Kubernetes, in Spark's client mode, wherever the driver runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys

from ..faults import RuntimeFailure, configuration_failure
from .cluster import CONFLICT, NOT_FOUND, Cluster, Refused
from .conf_files import Settings
from .executors import ExecutorWatch
from .local import MIB, SESSIONS, heap
from .template import (
    CONTAINER,
    DRIVER_LABEL,
    RUNTIME_FILE,
    SPARK_DIRECTORY,
    SPARK_SECRET,
    executor_cores,
    executor_memory,
    pod_template,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..bundle import Bundle
    from ..environment import Environment
    from ..layout import Layout

INSTANCES = 2
MOST_FAILURES = 3
"""Executors that cannot work, after which no more are waited for."""
_OWNER_ONLY = 0o400


class Session:
    """What executors need is made here, before the command starts, and removed after its end."""

    def __init__(self, bundle: Bundle, layout: Layout, environment: Environment, image_conf: str) -> None:
        self._document: Mapping[str, Any] = bundle.document
        self._spark: Mapping[str, Any] = bundle["spark"]
        self._layout = layout
        self._image_conf = image_conf
        self._user = bundle["user"] if os.geteuid() == 0 else None
        self._pod_name = environment.pod
        self._cluster = self._find_cluster(environment)
        self._selector = f"{DRIVER_LABEL}={bundle['job.id']}"
        self._secret_name = f"{bundle['job.id']}-spark-{secrets.token_hex(3)}"
        self._address = self._cluster.own_address()
        self._is_notebook = bool(bundle["notebook"])

    def _find_cluster(self, environment: Environment) -> Cluster:
        server, name, namespace = (self._spark.get(key) for key in ("server", "credentials", "namespace"))
        if self._pod_name is not None:
            return Cluster.of_pod(environment.inherited, namespace)
        if not server or not name or not namespace:
            raise configuration_failure("spark: executors on Kubernetes need [spark] server, credentials and namespace")
        token, authority = (self._layout.at("secrets", name, key) for key in ("token", "ca.crt"))
        missing = [path for path in (token, authority) if not os.path.exists(path)]
        if missing:
            keys = " and ".join(os.path.basename(path) for path in missing)
            raise configuration_failure(f"spark: the secret {name} has no {keys}: it needs token and ca.crt")
        return Cluster(server, namespace, token, authority)

    def settings(self, base: Settings) -> Settings:
        """The settings of a session in local mode, changed to these. Makes what they name."""
        first = int(self._spark["first_port"])
        base.placed.update(
            {
                **self._places(),
                **self._access(),
                **self._authentication(),
                "spark.driver.host": self._address,
                "spark.driver.bindAddress": self._address,
                "spark.driver.port": str(first),
                "spark.driver.blockManager.port": str(first + SESSIONS),
                "spark.blockManager.port": str(first + 2 * SESSIONS),
                "spark.port.maxRetries": str(SESSIONS - 1),
            }
        )
        for key, values in self._sizes().items():
            (base.configured if self._spark.get(key) else base.derived).update(values)
        base.configured.update(self._spark["conf"])
        return base

    def _places(self) -> dict[str, str]:
        """Where executors are: names of "Running Spark on Kubernetes"."""
        return {
            "spark.master": f"k8s://{self._cluster.server}",
            "spark.kubernetes.namespace": self._cluster.namespace,
            **({"spark.kubernetes.executor.container.image": self._spark["image"]} if self._spark.get("image") else {}),
            "spark.kubernetes.executor.podTemplateFile": self._write_template(),
            "spark.kubernetes.executor.podTemplateContainerName": CONTAINER,
            "spark.kubernetes.executor.disableConfigMap": "true",  # the executors' image has the files itself
            **({"spark.kubernetes.driver.pod.name": self._pod_name} if self._pod_name else {}),
        }

    def _access(self) -> dict[str, str]:
        prefix = "spark.kubernetes.authenticate"
        is_safe = self._cluster.server.startswith("https")
        return {
            f"{prefix}.oauthTokenFile": self._cluster.token_path,
            **({f"{prefix}.caCertFile": self._cluster.authority_path} if is_safe else {}),
        }

    def _authentication(self) -> dict[str, str]:
        """Nobody else may tell the driver or an executor what to compute, or read what they say to each other."""
        return {
            "spark.authenticate": "true",
            "spark.authenticate.secret.driver.file": self._layout.at("config", "spark-secret"),
            "spark.authenticate.secret.executor.file": f"{SPARK_DIRECTORY}/{SPARK_SECRET}",
            "spark.network.crypto.enabled": "true",
        }

    def _sizes(self) -> dict[str, dict[str, str]]:
        """How many executors there are and what they have, by what `[spark]` calls it."""
        cores, memory = str(executor_cores(self._document)), executor_memory(self._document) or 0
        of_memory = {
            "spark.executor.memory": f"{heap(memory) // MIB}m",
            "spark.executor.memoryOverhead": f"{(memory - heap(memory)) // MIB}m",
        }
        return {
            "instances": {"spark.executor.instances": str(self._spark.get("instances") or INSTANCES)},
            "cores": {"spark.executor.cores": cores, "spark.kubernetes.executor.limit.cores": cores},
            "memory": of_memory if memory else {},
        }

    def _write_template(self) -> str:
        """The file of the pod template, and the objects that it names."""
        owner = self._make_secret()
        template = pod_template(
            self._document,
            runtime=self._make_runtime(),
            spark_secret=self._secret_name,
            owner=None if self._pod_name else owner,
            image_conf=self._image_conf,
        )
        path = self._layout.at("config", "spark-executor.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(template, file)
        return path

    def _make_secret(self) -> dict[str, Any]:
        """The session's own secret, here and in the cluster; a reference that makes pods go when it goes."""
        value = secrets.token_hex(32)
        path = self._layout.at("config", "spark-secret")
        if os.path.lexists(path):
            os.unlink(path)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
            file.write(value)
        if self._user:
            os.chown(path, self._user["uid"], self._user["gid"])
        made = self._create(
            "secrets",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {**self._metadata(self._secret_name), **self._owned_by_pod()},
                "immutable": True,
                "data": {SPARK_SECRET: base64.b64encode(value.encode()).decode()},
            },
        )
        return {"apiVersion": "v1", "kind": "Secret", "name": self._secret_name, "uid": made["metadata"]["uid"]}

    def _owned_by_pod(self) -> dict[str, Any]:
        if self._pod_name is None:
            return {}
        try:
            pod = self._cluster.ask("GET", "pods", self._pod_name)
        except Refused as refusal:
            raise self._failure("get pods", refusal) from refusal
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self._pod_name, "uid": pod["metadata"]["uid"]}
        return {"ownerReferences": [owner]}

    def _make_runtime(self) -> str:
        """The ConfigMap with this very runtime, under the name that the backend gives it; it serves every job."""
        archive = __file__.partition(RUNTIME_FILE)[0] + RUNTIME_FILE
        with open(archive, "rb") as file:
            content = file.read()
        name = f"lyftlearn-runtime-{hashlib.sha256(content).hexdigest()[:16]}"
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "lyftlearn"}},
            "immutable": True,
            "binaryData": {RUNTIME_FILE: base64.b64encode(content).decode()},
        }
        self._create("configmaps", body)
        return name

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "labels": {DRIVER_LABEL: self._document["job"]["id"]}}

    def _create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._cluster.ask("POST", kind, body=body)
        except Refused as refusal:
            if refusal.status == CONFLICT:
                return {}
            raise self._failure(f"create {kind}", refusal) from refusal

    def _failure(self, what: str, refusal: Refused) -> RuntimeFailure:
        where = f"namespace {self._cluster.namespace} of {self._cluster.server}"
        return configuration_failure(f"spark: the driver cannot {what} in {where}: {refusal}")

    def follow(self, stop: Callable[[str], None]) -> Callable[[], None]:
        """Watch the executors; `stop` gets why they cannot work. Returns what ends the watch."""
        watch = ExecutorWatch(
            self._cluster,
            self._selector,
            first_port=int(self._spark["first_port"]) + 2 * SESSIONS,
            enough=min(int(self._spark.get("instances") or INSTANCES), MOST_FAILURES),
            stop=None if self._is_notebook else stop,
        )
        return watch.start()

    def clean_up(self) -> None:
        """Remove what is left of the executors: their driver may have been killed before it could."""
        for kind, name in (("pods", ""), ("secrets", self._secret_name)):
            query = {} if name else {"labelSelector": self._selector}
            try:
                self._cluster.ask("DELETE", kind, name, **query)
            except (Refused, RuntimeFailure) as error:
                if not (isinstance(error, Refused) and error.status == NOT_FOUND):
                    print(f"lyftlearn: spark: executors are not removed: {error}", file=sys.stderr, flush=True)
