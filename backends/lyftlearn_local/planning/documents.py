"""The bundle as each layout delivers it, and what else its supervisor must know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobSpec, Location, bundle
from lyftlearn.types import JobKind
from lyftlearn_local.layouts import kubernetes
from lyftlearn_local.layouts.layout import JOB_DIRECTORY
from lyftlearn_local.store.files import JobFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn_local.containers.engine import Engine
    from lyftlearn_local.options import Options
    from lyftlearn_local.planning.places import LocalPlaces

KUBERNETES_SECRETS = "/var/run/lyftlearn/secrets"
CONTAINER_SECRETS = f"{JOB_DIRECTORY}-secrets"
CONTAINER_USERS = {"local-kubernetes": (kubernetes.USER, kubernetes.GROUP), "local-sagemaker": (0, 0)}
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


def bundle_document(
    layout: str, spec: JobSpec, options: Options, job: Path, *, places: LocalPlaces, in_image: bool
) -> dict[str, Any]:
    """Return the bundle. in_image: the job runs in its image, which shows nothing of this machine by itself."""
    document = _bundle(layout, spec, options, job, in_image=in_image)
    document["inputs"] |= places.linked_inputs
    document["outputs"] |= places.placed_outputs()
    return document


def _bundle(layout: str, spec: JobSpec, options: Options, job: Path, *, in_image: bool) -> dict[str, Any]:
    common: dict[str, Any] = {"metrics": {"relay": True, "gateway": options.metrics, "socket": None}, "hide": HIDDEN}
    if spec.notebook:
        state = str(JobFiles(job).notebook_path)
        common["notebook"] = {"options": jupyter_options(spec.id), "token": "generate", "state": state}
    if layout == "local-kubernetes":
        provider = {"type": "files", "path": KUBERNETES_SECRETS}
        return bundle(spec, provider=provider, **common)
    provider = {"type": "files", "path": secrets_inside(layout) if in_image else str(options.secrets)}
    if layout == "local-sagemaker":
        return _with_mounts(bundle(spec, provider=provider, pack="substrate", **common), channels(spec))
    return bundle(spec, provider=provider, **common)


def jupyter_options(job_id: str) -> list[str]:
    """Return the options for this machine's own browser. Where somebody has the port, JupyterLab takes another near it.

    It finds a free one, and takes it later: two that begin at one number at the same moment would both find the same.
    """
    from lyftlearn.backend import notebook_port  # noqa: PLC0415 - only for notebooks

    port = f"--ServerApp.port={notebook_port(job_id)}"
    return ["--ServerApp.ip=127.0.0.1", port, "--ServerApp.port_retries=100"]


def container_settings(layout: str, spec: JobSpec, engine: Engine, *, cpus: int, gpu: int) -> dict[str, Any]:
    """Return what the supervisor must know to run a node in the job's image.

    user: of the layout; None stands for the image's own. files: what the job's URIs name here, to be read or written.
    """
    return {
        "engine": engine.settings(),
        "image": spec.image,
        "user": CONTAINER_USERS.get(layout),
        "files": sorted(set(_files(spec))),
        "cpu": min(spec.resources.cpu, cpus),
        "gpu": gpu,
    }


def _files(spec: JobSpec) -> Iterator[tuple[str, str]]:
    read = [*spec.inputs.values(), spec.artifact, spec.source and spec.source.uri]
    written = [*spec.outputs.values(), spec.output_uri, spec.packages and spec.packages.uri]
    for access, uris in (("read", read), ("write", written)):
        places = [Location.parse(uri) for uri in uris if uri and uri.startswith("file://")]
        yield from ((place.path, access) for place in places)


def layout_settings(
    layout: str, spec: JobSpec, options: Options, places: LocalPlaces, *, job: Path, python: str
) -> dict[str, Any]:
    """Return what the supervisor must know to lay a node out."""
    if layout == "local-kubernetes":
        return mounted_secrets(spec, options, KUBERNETES_SECRETS)
    if layout == "local-sagemaker":
        platform = entry_command(python, "-I", extra=job / "runtime.pyz")
        fetched = {channel: uri for channel, uri in channels(spec).items() if channel not in places.linked_inputs}
        return {"channels": fetched, "output_uri": spec.output_uri, "packs": _packs(spec), "platform": platform}
    return {}


def mounted_secrets(spec: JobSpec, options: Options, inside: str) -> dict[str, Any]:
    """Return which secrets a node is to be shown, and where."""
    where = {"secrets_directory": str(options.secrets), "secrets_inside": inside}
    return {"secrets": list(spec.secrets), **where}


def secrets_inside(layout: str) -> str:
    """Return where a job in its image finds its secrets."""
    return KUBERNETES_SECRETS if layout == "local-kubernetes" else CONTAINER_SECRETS


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
