"""Which cluster, and who asks: kubeconfig files and contexts, or the service account of a pod. Loads PyYAML."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn.backend import read_small_text
from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api import kubeconfig

if TYPE_CHECKING:
    from lyftlearn_kubernetes.options import Options

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_DEFAULT = "~/.kube/config"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Access(NamedTuple):
    """A cluster, and who asks. `cluster` and `user` are as a kubeconfig has them, with files named from the root on."""

    context: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return kubeconfig.server_url(self.cluster).geturl().rstrip("/")


def find(options: Options) -> Access:
    """Return the access that is configured, or else what kubectl would use; a pod's own before ~/.kube/config."""
    try:
        access = _find(options)
        kubeconfig.server_url(access.cluster)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as exc:
        problem = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
        message = f"no way to a Kubernetes cluster: {problem}. Name one with [kubernetes] kubeconfig and context"
        raise LyftLearnError(message) from exc
    return access


def _find(options: Options) -> Access:
    named = options.kubeconfig or os.environ.get("KUBECONFIG")
    if not named and not options.context and Path(SERVICE_ACCOUNT, "token").exists():
        return _of_pod(Path(SERVICE_ACCOUNT))
    paths = [Path(part).expanduser() for part in (named or _DEFAULT).split(os.pathsep) if part]
    merged = kubeconfig.read_all([path for path in paths if path.exists()])
    if not merged["clusters"]:
        raise FileNotFoundError(f"no kubeconfig at {', '.join(map(str, paths))}")
    return _access_of_context(merged, options.context or merged["current-context"])


def _of_pod(account: Path) -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        context="of this pod",
        namespace=read_small_text(account / "namespace").strip(),
        cluster={"server": server, "certificate-authority": str(account / "ca.crt")},
        user={"tokenFile": str(account / "token")},
    )


def _access_of_context(merged: Mapping[str, Any], name: str | None) -> Access:
    if not name:
        raise ValueError("the kubeconfig has no current-context")
    context = kubeconfig.entry(merged, "context", name)
    if not context.get("cluster"):
        raise ValueError(f"the kubeconfig's context {name!r} names no cluster")
    namespace = context.get("namespace") or "default"
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"the kubeconfig's context {name!r} has a namespace that cannot be one: {namespace!r}")
    return Access(
        context=name,
        namespace=namespace,
        cluster=kubeconfig.entry(merged, "cluster", context["cluster"]),
        user=kubeconfig.entry(merged, "user", context["user"]) if context.get("user") else {},
    )
