"""Which cluster, and who asks: kubeconfig files and contexts, or the service account of a pod. Loads PyYAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from lyftlearn_kubernetes.options import Options

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_DEFAULT = "~/.kube/config"
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Access:
    """A cluster, and who asks. `cluster` and `user` are as a kubeconfig has them, with files named from the root on."""

    context: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.cluster["server"]).rstrip("/")


def find(options: Options) -> Access:
    """Return the access that is configured, or else what kubectl would use; a pod's own before ~/.kube/config."""
    try:
        return _find(options)
    except (AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as exc:
        said = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
        message = f"no way to a Kubernetes cluster: {said}. Name one with [kubernetes] kubeconfig and context"
        raise LyftLearnError(message) from exc


def _find(options: Options) -> Access:
    named = options.kubeconfig or os.environ.get("KUBECONFIG")
    if not named and not options.context and Path(SERVICE_ACCOUNT, "token").exists():
        return _of_pod(Path(SERVICE_ACCOUNT))
    paths = [Path(part).expanduser() for part in (named or _DEFAULT).split(os.pathsep) if part]
    merged = _merge([path for path in paths if path.exists()])
    if not merged["clusters"]:
        raise FileNotFoundError(f"no kubeconfig at {', '.join(map(str, paths))}")
    return _access_of_context(merged, options.context or merged["current-context"])


def _of_pod(account: Path) -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        context="of this pod",
        namespace=(account / "namespace").read_text(encoding="utf-8").strip(),
        cluster={"server": server, "certificate-authority": str(account / "ca.crt")},
        user={"tokenFile": str(account / "token")},
    )


def _access_of_context(merged: Mapping[str, Any], name: str | None) -> Access:
    if not name:
        raise ValueError("the kubeconfig has no current-context")
    context = _entry(merged, "context", name)
    return Access(
        context=name,
        namespace=context.get("namespace") or "default",
        cluster=_entry(merged, "cluster", context["cluster"]),
        user=_entry(merged, "user", context["user"]) if context.get("user") else {},
    )


def _entry(merged: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    found = next((entry[kind] for entry in merged[f"{kind}s"] if entry["name"] == name), None)
    if found is None:
        raise ValueError(f"the kubeconfig has no {kind} {name!r}")
    return dict(found)


def _merge(paths: list[Path]) -> dict[str, Any]:
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
    """Return a kubeconfig whose files are named from the root on."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _LOADER) or {}  # noqa: S506 - a safe one
    for kind in ("cluster", "user"):
        for entry in document.get(f"{kind}s") or []:
            values = entry[kind] = entry.get(kind) or {}
            values.update({key: str(path.absolute().parent / values[key]) for key in _FILES if values.get(key)})
    return document
