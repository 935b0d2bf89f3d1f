"""The bundle as each layout delivers it, and what else its supervisor must know."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobSpec, bundle
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn_local._options import Options

KUBERNETES_SECRETS = "/var/run/lyftlearn/secrets"
_ROOT = Path(__file__).resolve().parent.parent


def start(module: str, *options: str, also: Path | None = None) -> list[str]:
    """Return the command that runs `main` of a module of this package, with `also` on its path."""
    inserted = [str(path) for path in (_ROOT, also) if path]
    begin = f"import sys; sys.path[:0] = {inserted!r}; from {__package__}.{module} import main; main()"
    return [sys.executable, *options, "-c", begin]


def document(layout: str, spec: JobSpec, options: Options) -> dict[str, Any]:
    """Return the bundle."""
    metrics = {"relay": True, "gateway": options.metrics, "socket": None}
    if layout == "local-kubernetes":
        provider = {"type": "files", "path": KUBERNETES_SECRETS}
        return bundle(spec, provider=provider, metrics=metrics | {"relay": options.metrics is not None})
    provider = {"type": "files", "path": str(options.secrets)}
    if layout == "local-sagemaker":
        return _mounted(bundle(spec, provider=provider, metrics=metrics, pack="substrate"), channels(spec))
    return bundle(spec, provider=provider, metrics=metrics)


def facts(layout: str, spec: JobSpec, options: Options, job: Path) -> dict[str, Any]:
    """Return what the supervisor must know to lay a node out."""
    if layout == "local-kubernetes":
        where = {"secrets_directory": str(options.secrets), "secrets_inside": KUBERNETES_SECRETS}
        return {"secrets": list(spec.secrets), **where}
    if layout == "local-sagemaker":
        platform = start("_transfer", "-I", also=job / "runtime.pyz")
        return {"channels": channels(spec), "output_uri": spec.output_uri, "packs": _packs(spec), "platform": platform}
    return {}


def channels(spec: JobSpec) -> dict[str, str]:
    """The inputs that SageMaker itself can fetch: one output out of another job's archive it cannot."""
    return {channel: uri for channel, uri in spec.inputs.items() if "#" not in uri}


def _mounted(document: dict[str, Any], mounted: dict[str, str]) -> dict[str, Any]:
    for channel in mounted:
        document["inputs"][channel]["mode"] = "mounted"
    return document


def _packs(spec: JobSpec) -> list[str]:
    """Which archives there will be: as where the runtime packs."""
    unplaced = any(uri is None for uri in spec.outputs.values())
    return (["model"] if spec.kind is JobKind.TRAIN else []) + (["output"] if unplaced else [])
