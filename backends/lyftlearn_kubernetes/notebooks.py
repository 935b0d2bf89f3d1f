"""Where a notebook that runs is opened, and the token that opens it."""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from lyftlearn.backend import NotebookAddress, notebook_port
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import SECRETS
from lyftlearn_kubernetes.api.errors import ApiError, translate_errors
from lyftlearn_kubernetes.status import jobs
from lyftlearn_kubernetes.submission import notebook_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options


def address(cluster: Cluster, options: Options, job_id: str) -> NotebookAddress | None:
    """Return where a browser opens the run; None until its readiness probe was answered."""
    document = jobs.fetch(cluster, job_id)
    token = ensure_token(cluster, document)
    if not _is_ready(cluster, job_id):
        return None
    files = document["spec"]["template"]["metadata"]["labels"][labels.NOTEBOOK]
    path, query = f"{notebook_objects.base_path(files, options)}lab", f"token={token}"
    if options.notebook.ingress:
        outside = urlsplit(options.notebook.ingress)
        return NotebookAddress(urlunsplit((outside.scheme, outside.netloc, path, query, "")))
    here = f"127.0.0.1:{notebook_port(job_id)}"
    return NotebookAddress(urlunsplit(("http", here, path, query, "")), _forward(cluster, options, job_id))


def ensure_token(cluster: Cluster, job: Mapping[str, Any]) -> str:
    """Return the run's token, made now if the caller that created the Job has died before it could.

    The run waits for it: its pod mounts the Secret, and starts when it is there.
    """
    name = job["metadata"]["name"]
    with translate_errors("reading secrets"):
        try:
            return _token(cluster.get(SECRETS, name))
        except ApiError as exc:
            if not exc.says_missing(name):
                raise
    with translate_errors("creating secrets"):
        try:
            cluster.create(SECRETS, notebook_objects.token_secret(job))
        except ApiError as exc:
            if not exc.already_exists:
                raise
    with translate_errors("reading secrets"):
        return _token(cluster.get(SECRETS, name))


def _token(secret: Mapping[str, Any]) -> str:
    return base64.b64decode(secret["data"][notebook_objects.TOKEN_FILE]).decode()


def _is_ready(cluster: Cluster, job_id: str) -> bool:
    with translate_errors("listing pods"):
        pods = list(cluster.list("pods", labels=labels.of_job(job_id)))
    return any(
        status.get("ready") and status.get("name") == labels.MAIN
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _forward(cluster: Cluster, options: Options, job_id: str) -> str:
    """Return the command that makes the port of the run's pod one of this machine."""
    where = {"--kubeconfig": options.kubeconfig, "--context": options.context, "--namespace": cluster.namespace}
    flags = [word for flag, value in where.items() if value for word in (flag, value)]
    ports = f"{notebook_port(job_id)}:{notebook_objects.PORT}"
    return shlex.join(["kubectl", *flags, "port-forward", f"job/{job_id}", ports])
