"""The bundle: one document that tells the runtime in the container everything about its job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lyftlearn._contract.spec import JobSpec
from lyftlearn.types import JobKind

CONTRACT = 1


def bundle(spec: JobSpec, **substrate: Any) -> dict[str, Any]:
    """Return the bundle of `spec`, version 1 of the container contract.

    substrate: what only the backend knows, by the bundle's own names: `user`, `metrics`, `pack`, `checkpoints`, `log`,
    `provider`, where secrets come from, and `notebook`, how a notebook is reached; and `spark_pod`, what Spark's
    executors have of the backend's own, as Kubernetes writes a pod: without it Spark runs in local mode.
    """
    provider = substrate.pop("provider", {"type": "variables"})
    notebook = _notebook(spec, substrate.pop("notebook", {}))
    spark = _spark(spec, substrate.pop("spark_pod", None))
    document = {
        "contract": CONTRACT,
        "job": {"id": spec.id, "name": spec.name, "kind": str(spec.kind), "model": _model(spec)},
        "command": list(spec.command),
        "hyperparameters": json.loads(spec.hyperparameters),
        "env": dict(spec.env),
        "secrets": {"names": list(spec.secrets), "provider": provider},
        "inputs": {channel: {"uri": uri, "mode": "fetch"} for channel, uri in spec.inputs.items()},
        "artifact": spec.artifact,
        "source": {"uri": spec.source.uri, "sha256": spec.source.sha256} if spec.source else None,
        "outputs": {name: {"uri": uri} for name, uri in spec.outputs.items()},
        "model": spec.kind is JobKind.TRAIN,
        "output_uri": spec.output_uri,
        "pack": "runtime",
        "checkpoints": None,
        "resources": _resources(spec),
        "nodes": spec.nodes,
        "timeout": None if spec.notebook or spec.serving else spec.timeout.total_seconds(),
        "grace": spec.grace.total_seconds(),
        "retries": spec.retries,
        "user": None,
        "metrics": {"relay": True, "gateway": None, "socket": None},
        "log": None,
    }
    if spec.shadow_of is not None:
        substrate["metrics"] = {"relay": True, "gateway": None, "socket": None}
    packages = {"packages": {"uri": spec.packages.uri, "index": spec.packages.index}} if spec.packages else {}
    return document | notebook | packages | spark | _serving(spec) | substrate


def _spark(spec: JobSpec, pod: Mapping[str, Any] | None) -> dict[str, Any]:
    settings = spec.spark
    if settings is None:
        return {}
    common = {"jars": list(settings.jars), "conf": dict(settings.conf)}
    if pod is None or not settings.on_kubernetes:
        return {"spark": {"executors": "local", **common}}
    return {
        "spark": {
            "executors": "kubernetes",
            **common,
            "instances": settings.instances,
            "cores": settings.cores,
            "memory": settings.memory,
            "source": {"uri": spec.source.uri, "sha256": spec.source.sha256} if spec.source else None,
            "inputs": dict(spec.inputs),
            "image": settings.image,
            "namespace": settings.namespace,
            "service_account": settings.service_account,
            "server": settings.server,
            "credentials": settings.credentials,
            "first_port": settings.first_port,
            "pod": _merge(pod, settings.pod),
        }
    }


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both as one: tables key by key, lists one behind the other; of other values that of `above`."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        one, other = below[key], above[key]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            both[key] = _merge(one, other)
        elif isinstance(one, list) and isinstance(other, list):
            both[key] = [*one, *other]
    return both


def _notebook(spec: JobSpec, reached: dict[str, Any]) -> dict[str, Any]:
    """Return nothing for other jobs: what they carry stays as small as it was."""
    if spec.notebook is None:
        return {}
    idle = spec.notebook.idle_timeout
    return {"notebook": {"idle_timeout": idle.total_seconds() if idle else None, **reached}}


def _serving(spec: JobSpec) -> dict[str, Any]:
    """Return nothing for other jobs, as above."""
    if spec.serving is None:
        return {}
    tested = {"tested_by_caller": True} if spec.serving.tested_by_caller else {}
    return {"artifact_sha256": spec.serving.artifact_sha256, "serving": {"port": spec.serving.port, **tested}}


def _model(spec: JobSpec) -> str | None:
    return None if spec.kind in (JobKind.PROCESS, JobKind.NOTEBOOK) else spec.name


def _resources(spec: JobSpec) -> dict[str, Any]:
    asked = spec.resources
    return {"cpu": asked.cpu, "memory": asked.memory, "gpu": asked.gpu, "shared_memory": asked.shared_memory}
