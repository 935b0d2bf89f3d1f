"""Who asks, and where: kubeconfig files and contexts, or the service account of a pod. Loads lightkube."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml  # type: ignore[import-untyped]
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from lyftlearn_kubernetes._options import Options

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def find(options: Options) -> SingleConfig:
    """Return the access that is configured, or else what kubectl would use; a pod's own before ~/.kube/config."""
    try:
        return _find(options)
    except (ConfigError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as exc:
        message = f"no way to a Kubernetes cluster: {exc}. Name one with [kubernetes] kubeconfig and context"
        raise LyftLearnError(message) from exc


def _find(options: Options) -> SingleConfig:
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
    """Return a kubeconfig whose files are named from the root on."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for kind in ("cluster", "user"):
        for entry in document.get(f"{kind}s") or []:
            values = entry[kind]
            values.update({key: str(path.parent / values[key]) for key in _FILES if values.get(key)})
    return document
