"""What a job with Spark has on Kubernetes: executors' pods like its own, and a way to it for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lyftlearn.backend import JobSpec
    from lyftlearn_kubernetes.options import Options

DRIVER = "lyftlearn/spark-driver"  # on executors: the job whose they are
POLICY = "lyftlearn-spark"
CONTAINER = "executor"
_PORTS = 32  # by which executors reach the driver


def makes_executors(spec: JobSpec) -> bool:
    """Whether the job's pod creates pods."""
    return spec.spark is not None and spec.spark.on_kubernetes


def executor_pod(
    options: Options,
    security: dict[str, Any],
    container: dict[str, Any],
    file_systems: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> dict[str, Any]:
    """Return what executors have of this platform: the same nodes, account, user and file systems as jobs."""
    placement = {
        "nodeSelector": dict(options.node_selector),
        "tolerations": list(options.tolerations),
        "priorityClassName": options.priority_class,
        "schedulerName": options.scheduler,
        "serviceAccountName": options.service_account,
        "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
        "volumes": [volume for volume, _ in file_systems],
    }
    mounts = [mount for _, mounts in file_systems for mount in mounts]
    return {
        "metadata": {"labels": dict(options.labels), "annotations": dict(options.annotations)},
        "spec": {
            **{key: value for key, value in placement.items() if value},
            "securityContext": security,
            "containers": [{"name": CONTAINER, "securityContext": container, "volumeMounts": mounts}],
        },
    }


def network_policies(spec: JobSpec, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the policy that lets executors in to a notebook, which the policy of notebooks would keep out."""
    if spec.spark is None or not spec.spark.on_kubernetes or spec.notebook is None:
        return
    first = spec.spark.first_port
    ports = [{"protocol": "TCP", "port": first, "endPort": first + _PORTS - 1}]
    peer = {"podSelector": {"matchExpressions": [{"key": DRIVER, "operator": "Exists"}]}}
    namespace = {"namespace": options.namespace} if options.namespace else {}
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{POLICY}-{first}", **namespace, "labels": {labels.MANAGED_BY: labels.OURS}},
        "spec": {
            "podSelector": {"matchLabels": {labels.MANAGED_BY: labels.OURS, labels.KIND: "notebook"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [peer], "ports": ports}],
        },
    }
