"""What a notebook has beside its run's Job, as plain data.

The claim, the Service and the Ingress stay with the notebook. The Secret with the token goes with its run.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lyftlearn_kubernetes import labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn_kubernetes.options import Options

FILES_DIRECTORY = "/lyftlearn/notebook"
TOKEN_DIRECTORY, TOKEN_FILE = "/var/run/lyftlearn-notebook", "token"
PORT = 8888
NAMESPACE_NAME = "kubernetes.io/metadata.name"  # which every namespace has as a label
POLICY = "lyftlearn-notebooks"
_SECONDS_TO_ANSWER = 10


def claim(files: str, options: Options) -> dict[str, Any]:
    """Return the PersistentVolumeClaim of the files that stay from run to run."""
    storage_class = {"storageClassName": options.notebook.storage_class} if options.notebook.storage_class else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(files, options, {labels.NOTEBOOK: files}),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            **storage_class,
            "resources": {"requests": {"storage": options.notebook.size}},
        },
    }


def network_policy(options: Options) -> dict[str, Any]:
    """Return the policy that lets nobody but the ingress controller in to any notebook of the namespace.

    Port forwarding comes from the node itself, which no policy keeps out.
    """
    peer = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: options.notebook.ingress_namespace}}}
    allowed = [{"from": [peer], "ports": [{"protocol": "TCP", "port": PORT}]}] if options.notebook.ingress else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(POLICY if not options.notebook.ingress else f"{POLICY}-by-ingress", options),
        "spec": {
            "podSelector": {"matchLabels": {labels.MANAGED_BY: labels.OURS, labels.KIND: "notebook"}},
            "policyTypes": ["Ingress"],
            "ingress": allowed,
        },
    }


def service(files: str, options: Options) -> dict[str, Any]:
    """Return the Service in front of the run that is open, whichever that is."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(files, options, {labels.NOTEBOOK: files}),
        "spec": {"selector": {labels.NOTEBOOK: files}, "ports": [{"protocol": "TCP", "port": PORT}]},
    }


def ingress(files: str, options: Options) -> dict[str, Any]:
    """Return the Ingress that leads from the configured URL to the Service."""
    address = urlsplit(options.notebook.ingress or "")
    backend = {"service": {"name": files, "port": {"number": PORT}}}
    rule = {"path": base_path(files, options), "pathType": "Prefix", "backend": backend}
    ingress_class = {"ingressClassName": options.notebook.ingress_class} if options.notebook.ingress_class else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(files, options, {labels.NOTEBOOK: files}),
        "spec": {
            **ingress_class,
            "rules": [{"host": address.hostname, "http": {"paths": [rule]}}],
            **({"tls": [{"hosts": [address.hostname]}]} if address.scheme == "https" else {}),
        },
    }


def base_path(files: str, options: Options) -> str:
    """Return the path under which JupyterLab serves: behind an ingress the notebook's own."""
    if not options.notebook.ingress:
        return "/"
    return f"{urlsplit(options.notebook.ingress).path.rstrip('/')}/{files}/"


def token_secret(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Secret with a token for the run whose Job is `job`, made anew. It goes when the Job goes."""
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": metadata["name"],
            "labels": {labels.MANAGED_BY: labels.OURS},
            "ownerReferences": [owner],
        },
        "immutable": True,
        "data": {TOKEN_FILE: base64.b64encode(secrets.token_urlsafe(32).encode()).decode()},
    }


def volumes(job_id: str, files: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the claim and the token as volumes, each with its mount."""
    token = {"name": "token", "secret": {"secretName": job_id, "defaultMode": 0o440}}
    return [
        (
            {"name": "notebook", "persistentVolumeClaim": {"claimName": files}},
            {"name": "notebook", "mountPath": FILES_DIRECTORY},
        ),
        (token, {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True}),
    ]


def container_fields(files: str, options: Options) -> dict[str, Any]:
    """Return what tells the cluster where the container listens, and when it can be opened."""
    probe = {"path": f"{base_path(files, options)}api", "port": PORT}
    return {
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": probe, "periodSeconds": 2, "timeoutSeconds": _SECONDS_TO_ANSWER},
    }


def bundle_fields(files: str, options: Options) -> dict[str, Any]:
    """Return how the runtime is to start JupyterLab."""
    return {
        "options": [
            "--ServerApp.ip=0.0.0.0",
            f"--ServerApp.port={PORT}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={base_path(files, options)}",
        ],
        "token": f"{TOKEN_DIRECTORY}/{TOKEN_FILE}",
    }


def _metadata(name: str, options: Options, own: Mapping[str, str] | None = None) -> dict[str, Any]:
    namespace = {"namespace": options.namespace} if options.namespace else {}
    return {"name": name, **namespace, "labels": {labels.MANAGED_BY: labels.OURS, **(own or {})}}
