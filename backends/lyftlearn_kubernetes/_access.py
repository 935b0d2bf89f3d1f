"""Who asks, and where: kubeconfig files and contexts, exec plugins, or the service account of a pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    import httpx2
    from lightkube.config.kubeconfig import SingleConfig

    from lyftlearn_kubernetes._options import Options

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
CONNECTIONS = 200  # every followed log holds one
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def find(options: Options) -> SingleConfig:
    """Return the access that is configured, or else what kubectl would use; a pod's own before ~/.kube/config."""
    from lightkube.core.exceptions import ConfigError

    try:
        return _find(options)
    except (ConfigError, KeyError, OSError, TypeError, ValueError) as exc:
        raise LyftLearnError(f"no way to a Kubernetes cluster: {exc}. Name one: [kubernetes] kubeconfig, context") from exc


def _find(options: Options) -> SingleConfig:
    from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, SERVICE_ACCOUNT, KubeConfig

    named = options.kubeconfig or os.environ.get("KUBECONFIG")
    if not named and not options.context and (Path(SERVICE_ACCOUNT) / "token").exists():
        return cast("SingleConfig", KubeConfig.from_service_account().get())
    paths = [Path(part).expanduser() for part in (named or DEFAULT_KUBECONFIG).split(os.pathsep) if part]
    merged = _merged([path for path in paths if path.exists()])
    if not merged["clusters"]:
        raise FileNotFoundError(f"no kubeconfig at {', '.join(map(str, paths))}")
    return cast("SingleConfig", KubeConfig.from_dict(merged).get(options.context))


def _merged(paths: list[Path]) -> dict[str, Any]:
    """Merge kubeconfig files as kubectl does: whatever was named first stays."""
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": [], "current-context": None}
    for path in paths:
        document = _read(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context")
        for kind in ("clusters", "contexts", "users"):
            known = {entry["name"] for entry in merged[kind]}
            merged[kind] += [entry for entry in document.get(kind) or [] if entry["name"] not in known]
    return merged


def _read(path: Path) -> dict[str, Any]:
    import yaml

    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for kind in ("cluster", "user"):
        for entry in document.get(f"{kind}s") or []:
            values = entry[kind]
            values.update({key: str(path.parent / values[key]) for key in _FILES if values.get(key)})
    return cast("dict[str, Any]", document)


def connect(config: SingleConfig) -> httpx2.Client:
    """Return an HTTP client that is who `config` says."""
    import httpx2
    from lightkube.config.client_adapter import ConnectionParams
    from lightkube.config.models import User
    from lightkube.core.exceptions import ConfigError

    from lyftlearn_kubernetes._exec_plugin import ExecPlugin

    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    known = config._replace(user=config.user or User())
    try:
        params = ConnectionParams(timeout=timeout).httpx_params(known)
    except (ConfigError, OSError, ValueError) as exc:
        raise LyftLearnError(f"the access to the cluster of context {config.context_name!r} is broken: {exc}") from exc
    if config.user and config.user.exec:
        params["auth"] = ExecPlugin(config.user.exec)
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20)
    return httpx2.Client(**params, limits=limits)
