"""What an executor's pod is made from: Spark adds its own to it, and keeps the rest."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CONTAINER = "executor"
DRIVER_LABEL = "lyftlearn/spark-driver"
"""The job whose executors these are. No label of the job itself: its executors are none of its nodes."""
BUNDLE = "lyftlearn/bundle"
RUNTIME_FILE = "runtime.pyz"
RUNTIME_DIRECTORY = "/var/run/lyftlearn-runtime"
BUNDLE_DIRECTORY = "/var/run/lyftlearn"
SECRETS_DIRECTORY = "/var/run/lyftlearn-secrets"
SPARK_DIRECTORY, SPARK_SECRET = "/var/run/lyftlearn-spark", "secret"
ROOT = "/lyftlearn"
REPORT_SECONDS = 60
UPLOAD_SECONDS = 7200
"""Beyond the timeout of the job: for its inputs, and for what it keeps."""
_SAME = ("contract", "job", "env", "packages", "user", "grace", "hide")
_POD_NAME = {"name": "LYFTLEARN_SUBSTRATE_CONTAINER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def executor_bundle(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the runtime is told in an executor: the job's own variables, secrets, inputs, code and packages."""
    spark = document["spark"]
    names = [name for name in document["secrets"]["names"] if name != spark.get("credentials")]
    return {
        **{field: document[field] for field in _SAME},
        "command": [CONTAINER],
        "secrets": {"names": names, "provider": {"type": "files", "path": SECRETS_DIRECTORY}},
        "source": spark.get("source"),
        "inputs": {name: _input(entry, spark["inputs"].get(name)) for name, entry in document["inputs"].items()},
        "resources": {"cpu": executor_cores(document), "memory": executor_memory(document)},
        "metrics": {"relay": True, "gateway": document["metrics"]["gateway"], "socket": None},
    }


def _input(entry: Mapping[str, Any], uri: str | None) -> Mapping[str, Any]:
    """Executors see the job's inputs where it does: a platform that mounts them for the job does so for nobody else."""
    return {"uri": uri, "mode": "fetch"} if entry.get("mode") == "mounted" else entry


def executor_cores(document: Mapping[str, Any]) -> int:
    """As many as were configured, or the whole ones of the job."""
    return int(document["spark"].get("cores") or max(1, int(document["resources"]["cpu"])))


def executor_memory(document: Mapping[str, Any]) -> int | None:
    """The bytes of an executor's pod."""
    memory: int | None = document["spark"].get("memory") or document["resources"]["memory"]
    return memory


def pod_template(
    document: Mapping[str, Any],
    *,
    runtime: str,
    spark_secret: str,
    image_conf: str,
    owner: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The pod.

    runtime, spark_secret: names of the ConfigMap and the Secret. image_conf: where the image has its configuration.
    owner: what the pod goes with.
    """
    pod: dict[str, Any] = document["spark"]["pod"]
    metadata, spec = pod.get("metadata", {}), pod.get("spec", {})
    account = document["spark"].get("service_account")
    bundle = executor_bundle(document)
    volumes = _volumes(bundle["secrets"]["names"], runtime, spark_secret)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "labels": {**metadata.get("labels", {}), DRIVER_LABEL: document["job"]["id"]},
            "annotations": {**metadata.get("annotations", {}), BUNDLE: json.dumps(bundle, separators=(",", ":"))},
            **({"ownerReferences": [dict(owner)]} if owner else {}),
        },
        "spec": {
            **spec,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": int(document["grace"]) + REPORT_SECONDS,
            **_deadline(document),
            **({"serviceAccountName": account} if account else {}),
            "containers": [_container(spec, volumes, image_conf), *_others(spec)],
            "volumes": [*(volume for volume, _ in volumes), *spec.get("volumes", ())],
        },
    }


def _deadline(document: Mapping[str, Any]) -> dict[str, int]:
    """Executors of a job with a timeout end, whatever becomes of their driver."""
    timeout = document["timeout"]
    return {"activeDeadlineSeconds": int(timeout + document["grace"]) + UPLOAD_SECONDS} if timeout else {}


def _container(
    spec: Mapping[str, Any], volumes: list[tuple[dict[str, Any], dict[str, Any]]], image_conf: str
) -> dict[str, Any]:
    variables = {"LYFTLEARN_SUBSTRATE": "kubernetes", "LYFTLEARN_SUBSTRATE_SPARK_CONF": image_conf}
    given: Mapping[str, Any] = next((one for one in spec.get("containers", ()) if one.get("name") == CONTAINER), {})
    return {
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **given,
        "name": CONTAINER,
        "command": ["python3", "-I", f"{RUNTIME_DIRECTORY}/{RUNTIME_FILE}", "spark"],
        "env": [
            *({"name": name, "value": value} for name, value in variables.items()),
            _POD_NAME,
            *given.get("env", ()),
        ],
        "volumeMounts": [*(mount for _, mount in volumes), *given.get("volumeMounts", ())],
    }


def _others(spec: Mapping[str, Any]) -> list[Any]:
    return [one for one in spec.get("containers", ()) if one.get("name") != CONTAINER]


def _volumes(secrets: list[str], runtime: str, spark_secret: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume with its mount. Secrets are optional here: the runtime names one that is missing."""
    field = {"path": "bundle.json", "fieldRef": {"fieldPath": f"metadata.annotations['{BUNDLE}']"}}
    read_only: dict[str, tuple[str, dict[str, Any]]] = {
        "bundle": (BUNDLE_DIRECTORY, {"downwardAPI": {"items": [field]}}),
        "runtime": (RUNTIME_DIRECTORY, {"configMap": {"name": runtime}}),
        "spark": (SPARK_DIRECTORY, {"secret": {"secretName": spark_secret, "defaultMode": 0o440}}),
    }
    for index, name in enumerate(secrets):
        source = {"secret": {"secretName": name, "optional": True, "defaultMode": 0o440}}
        read_only[f"secret-{index}"] = (f"{SECRETS_DIRECTORY}/{name}", source)
    writable: dict[str, tuple[str, dict[str, Any]]] = {"work": (ROOT, {"emptyDir": {}})}
    if secrets:
        writable["secrets"] = (f"{ROOT}/secrets", {"emptyDir": {"medium": "Memory"}})
    return [
        *(
            ({"name": name, **source}, {"name": name, "mountPath": path, "readOnly": True})
            for name, (path, source) in read_only.items()
        ),
        *(({"name": name, **source}, {"name": name, "mountPath": path}) for name, (path, source) in writable.items()),
    ]
