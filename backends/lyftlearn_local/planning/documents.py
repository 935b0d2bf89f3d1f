"""The bundle as each layout delivers it, and what else its supervisor must know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobSpec, Location, bundle
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn_local.options import Options

KUBERNETES_SECRETS = "/var/run/lyftlearn/secrets"
HIDDEN = ["OLDPWD", "SHLVL", "_"]
"""What the shell that enters a control group may set, and no container has."""
_ROOT = Path(__file__).resolve().parents[2]


def entry_command(python: str, *options: str, extra: Path | None = None) -> list[str]:
    """Return the command that stands for `python -m lyftlearn_local`, with `extra` on its path.

    Isolated interpreters find no package by themselves, so the path is part of the command. The module that it names is
    stored with jobs and never moves.
    """
    paths = [str(path) for path in (_ROOT, extra) if path]
    begin = f"import sys; sys.path[:0] = {paths!r}; from lyftlearn_local.__main__ import main; main()"
    return [python, *options, "-c", begin]


def bundle_document(layout: str, spec: JobSpec, options: Options) -> dict[str, Any]:
    """Return the bundle."""
    common: dict[str, Any] = {"metrics": {"relay": True, "gateway": options.metrics, "socket": None}, "hide": HIDDEN}
    if layout == "local-kubernetes":
        provider = {"type": "files", "path": KUBERNETES_SECRETS}
        return bundle(spec, provider=provider, **common)
    provider = {"type": "files", "path": str(options.secrets)}
    if layout == "local-sagemaker":
        return _with_mounts(bundle(spec, provider=provider, pack="substrate", **common), channels(spec))
    return bundle(spec, provider=provider, **common)


def layout_settings(layout: str, spec: JobSpec, options: Options, job: Path, python: str) -> dict[str, Any]:
    """Return what the supervisor must know to lay a node out."""
    if layout == "local-kubernetes":
        where = {"secrets_directory": str(options.secrets), "secrets_inside": KUBERNETES_SECRETS}
        return {"secrets": list(spec.secrets), **where}
    if layout == "local-sagemaker":
        platform = entry_command(python, "-I", extra=job / "runtime.pyz")
        return {"channels": channels(spec), "output_uri": spec.output_uri, "packs": _packs(spec), "platform": platform}
    return {}


def channels(spec: JobSpec) -> dict[str, str]:
    """The inputs that SageMaker itself can fetch: one output out of another job's archive it cannot."""
    return {channel: uri for channel, uri in spec.inputs.items() if not Location.parse(uri).member}


def _with_mounts(bundled: dict[str, Any], mounted: dict[str, str]) -> dict[str, Any]:
    for channel in mounted:
        bundled["inputs"][channel]["mode"] = "mounted"
    return bundled


def _packs(spec: JobSpec) -> list[str]:
    """Which archives there will be: as where the runtime packs."""
    unplaced = any(uri is None for uri in spec.outputs.values())
    return (["model"] if spec.kind is JobKind.TRAIN else []) + (["output"] if unplaced else [])
