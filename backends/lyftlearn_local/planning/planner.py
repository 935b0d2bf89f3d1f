"""What would be written and started for a job, and what stands against it."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lyftlearn.backend import Fault, JobSpec, Plan, Request, words
from lyftlearn.types import JobKind
from lyftlearn_local import cgroups
from lyftlearn_local.containers.container import PYTHON
from lyftlearn_local.layouts.layout import JOB_DIRECTORY
from lyftlearn_local.planning import documents, interpreter
from lyftlearn_local.planning.places import LocalPlaces
from lyftlearn_local.store import leftovers, start_mark
from lyftlearn_local.store.environment import clean_environment
from lyftlearn_local.store.files import DRIVERS
from lyftlearn_local.supervisor import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import NotebookSpec
    from lyftlearn_local.containers.engine import Engine
    from lyftlearn_local.options import Options

WRITE_RECORD, WRITE_BUNDLE, START = "write job.json", "write bundle.json", "start supervisor"
DRIVER_LAYOUT = "local"
_BEGIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); import lyftlearn_runtime.zip_main"
_SWITCHED_OFF = 'switched off by namespaces = "never"'


class Planner:
    """Plans for one of the local backends."""

    def __init__(self, name: str, jobs: Path, options: Options, machine: Machine) -> None:
        self.name = name
        self.jobs = jobs
        self.options = options
        self.machine = machine

    def plan(self, spec: JobSpec) -> Plan:
        """Return the requests, faults and notes for `spec`."""
        in_image, job, places = self._engine(spec) is not None, self.jobs / spec.id, self._places(spec)
        document = documents.bundle_document(
            self._layout(spec), places.spec(), self.options, job, places=places, in_image=in_image
        )
        run = self._run(spec, places)
        requests = (
            Request(operation=WRITE_BUNDLE, body=document),
            Request(operation=WRITE_RECORD, body={**_record(spec), "run": run}),
            Request(operation=START, body={"command": [*run["supervisor"], str(self.jobs / spec.id)]}),
        )
        return Plan(
            spec=spec,
            backend=self.name,
            requests=requests,
            faults=(*self.options.faults, *self._faults(spec), *places.faults()),
            notes=tuple(self._notes(spec)),
        )

    def _places(self, spec: JobSpec) -> LocalPlaces:
        has_mounts = self._engine(spec) is not None or (self.machine.namespaces and spec.kind is not JobKind.TUNE)
        return LocalPlaces(self._layout(spec), spec, self.options, has_mounts=bool(has_mounts))

    def _engine(self, spec: JobSpec) -> Engine | None:
        """What runs the job's image, if it names one. A notebook has this machine's JupyterLab."""
        engine = self.machine.engine if _runs_in_image(spec) else None
        return None if isinstance(engine, str) else engine

    def runs_in_image(self, spec: JobSpec) -> bool:
        """Whether the job runs in its image, and not with what this machine has."""
        return self._engine(spec) is not None

    def _run(self, spec: JobSpec, places: LocalPlaces) -> dict[str, Any]:
        return {**self._placement(spec, places), **self._programs(spec, places)}

    def _placement(self, spec: JobSpec, places: LocalPlaces) -> dict[str, Any]:
        """A search's driver is no container: what it starts here outlives it, and waits for no slot of its own."""
        drives, layout, binds = spec.kind is JobKind.TUNE, self._layout(spec), places.binds()
        job, python = self.jobs / spec.id, self.machine.python
        return {
            "layout": layout,
            "namespaces": None if drives else self.machine.namespaces,
            "memory": spec.resources.memory if self._limits_memory(spec) and not drives else None,
            **({"slots": DRIVERS} if drives else {}),
            **({"mounts": binds} if binds else {}),
            **documents.layout_settings(layout, places.spec(), self.options, places, job=job, python=python),
        }

    def _layout(self, spec: JobSpec) -> str:
        return DRIVER_LAYOUT if spec.kind is JobKind.TUNE else self.name

    def _programs(self, spec: JobSpec, places: LocalPlaces) -> dict[str, Any]:
        return {
            "nodes": spec.nodes,
            "grace": spec.grace.total_seconds(),
            "parallel": self.options.parallel,
            **self._pending(),
            "begin": start_mark.BEGIN_SECONDS,
            "sets_modes": self.machine.sets_modes,
            "shared_memory": spec.resources.shared_memory,
            **({"notebook_files": str(self._notebook_files(spec.notebook))} if spec.notebook else {}),
            "runtime": self._runtime(spec, self.machine.python, str(self.jobs / spec.id / "runtime.pyz")),
            "supervisor": [*documents.entry_command(self.machine.python, "-I", "-S"), "supervise"],
            **self._container(spec, places),
        }

    def _pending(self) -> dict[str, Any]:
        """What travels with the job of the limit on its wait, in the words that its end has."""
        limit = self.options.pending
        if limit is None:
            return {}
        return {"pending": {"seconds": limit.total_seconds(), "message": words.no_capacity(limit)}}

    def _notebook_files(self, notebook: NotebookSpec) -> Path:
        return self.jobs.parent / "notebooks" / notebook.files

    def _container(self, spec: JobSpec, places: LocalPlaces) -> dict[str, Any]:
        """What differs for a job that runs in its image."""
        engine = self._engine(spec)
        if engine is None:
            return {}
        gpu = spec.resources.gpu if self.machine.has_gpu else 0
        settings = documents.container_settings(self.name, places.spec(), engine, cpus=self.machine.cpus, gpu=gpu)
        secrets = documents.mounted_secrets(spec, self.options, documents.secrets_inside(self.name))
        runtime = self._runtime(spec, PYTHON, f"{JOB_DIRECTORY}/runtime.pyz")
        return {"container": settings, **secrets, "namespaces": None, "runtime": runtime}

    def _limits_memory(self, spec: JobSpec) -> bool:
        engine = self._engine(spec)
        return engine.limits_memory if engine else self.machine.limits_memory

    def _runtime(self, spec: JobSpec, python: str, archive: str) -> list[str]:
        """The runtime's command. Without site packages it starts sooner; only S3 needs them.

        Python itself would load more to run an archive than to import from it. An image may have one that is too old.
        """
        quick = [] if any(uri.startswith("s3://") for _, uri in _uris(spec)) else ["-S"]
        begin = [] if python == PYTHON else ["-c", _BEGIN]
        return [python, "-I", *quick, *begin, archive, "run"]

    def _faults(self, spec: JobSpec) -> Iterator[Fault]:
        if spec.notebook and not self._has_jupyter():
            remedy = "pip install 'lyftlearn[notebook]'"
            yield Fault("kind", f"a notebook needs JupyterLab beside {self.machine.python}, which has none: {remedy}")
        in_image = self._engine(spec) is not None
        if _runs_in_image(spec) and self.options.image_required and not in_image:
            required = f"{self.name}.image_required is set"
            yield Fault("image", f"{spec.image} cannot be run here, and {required}: {self.machine.engine}")
        must_have_them = self.name != "local" or self.options.namespaces == "always"
        if self.machine.no_namespaces and must_have_them and not in_image:
            yield Fault(f"{self.name}.namespaces", f"needed, and not to be had: {self.machine.no_namespaces}")
        if spec.nodes > 1 and spec.retries:
            yield Fault(
                "retries", "several nodes cannot be retried here: they would not start anew together; leave it at 0"
            )
        if spec.resources.memory * spec.nodes > self.machine.memory:
            amount = f"{spec.nodes} x {spec.resources.memory}" if spec.nodes > 1 else f"{spec.resources.memory}"
            yield Fault(
                "resources.memory", f"{amount} bytes asked for, this machine has {self.machine.memory}: ask for less"
            )
        if not self.machine.has_python:
            yield Fault(
                f"{self.name}.python", f"{self.machine.python!r} is no Python that jobs can run: {interpreter.REMEDY}"
            )
        yield from self._uri_faults(spec)

    def _has_jupyter(self) -> bool:
        path = clean_environment(self.machine.python)["PATH"]
        return shutil.which("jupyter-lab", path=path) is not None

    def _uri_faults(self, spec: JobSpec) -> Iterator[Fault]:
        for path, uri in _uris(spec):
            scheme = urlsplit(uri).scheme
            if scheme not in ("file", "s3"):
                yield Fault(path, f"{uri!r} is neither file:// nor s3://, and nothing else can be read here")
            elif scheme == "s3" and self._moves_here(spec) and not _has_boto3():
                yield Fault(path, f"{uri} needs boto3 in {self.machine.python}: pip install boto3")

    def _moves_here(self, spec: JobSpec) -> bool:
        """Whether this machine's boto3 is used: an image has its own, and SageMaker moves things by itself."""
        return self._engine(spec) is None or self.name == "local-sagemaker"

    def _notes(self, spec: JobSpec) -> Iterator[str]:
        """What was asked for and is not to be had here. Nothing is left out without a word."""
        machine = self.machine
        yield from self._resource_notes(spec)
        if spec.spark and spec.spark.on_kubernetes:
            yield "spark: in local mode, the driver is its own executor: pods on Kubernetes do not reach this machine"
        if self._engine(spec):
            yield from self._user_notes()
            return
        if _runs_in_image(spec):
            without = f"the command runs with what this machine has ({spec.image} was asked for): {machine.engine}"
            yield f"image: not used, {without}"
        if machine.no_namespaces:
            yield f"only the LYFTLEARN_* variables lead to the job's paths here: {machine.no_namespaces}"
        if spec.secrets and not machine.has_shared_memory:
            yield "secrets: they lie on the disk while the job runs, because this system has no /dev/shm"
        if not machine.shows_processes:
            yield "processes that the command leaves in sessions of their own outlive it: this system has no /proc"

    def _user_notes(self) -> Iterator[str]:
        engine = self.machine.engine
        if not isinstance(engine, str) and engine.kind == "docker" and os.geteuid() != 0:
            yield f"user: the command runs as you, not as its image or {self.name} says: you could not remove its files"

    def _resource_notes(self, spec: JobSpec) -> Iterator[str]:
        resources, machine = spec.resources, self.machine
        if resources.gpu and not machine.has_gpu:
            yield f"resources.gpu: {resources.gpu} asked for, this machine shows none"
        if resources.gpu_type:
            yield f"resources.gpu_type: {resources.gpu_type} asked for, the job gets what this machine has"
        if resources.cpu * spec.nodes > machine.cpus:
            amount = resources.cpu * spec.nodes
            yield f"resources.cpu: {amount:g} cores asked for, this machine has {machine.cpus}"
        if not self._limits_memory(spec):
            yield f"resources.memory: not enforced here: {cgroups.REMEDY}"
        if resources.shared_memory and machine.no_namespaces and not self._engine(spec):
            yield "resources.shared_memory: the job gets this machine's own /dev/shm, if there is one"
        free = free_bytes(self.jobs)
        if resources.disk * spec.nodes > free:
            amount, gib = resources.disk * spec.nodes, 1 << 30
            yield f"resources.disk: {amount / gib:.1f} GiB asked for, {free / gib:.1f} GiB are free"


def _runs_in_image(spec: JobSpec) -> bool:
    """Whether the job has an image to run in. Notebooks and drivers of searches run in what this machine has."""
    return spec.image is not None and spec.kind not in (JobKind.TUNE, JobKind.NOTEBOOK)


def free_bytes(path: Path) -> float:
    """Return the free bytes on the disk of `path`, which need not exist yet; infinity where the system does not say."""
    try:
        return shutil.disk_usage(next(part for part in (path, *path.parents) if os.path.exists(part))).free  # noqa: PTH110 - never raises
    except OSError:
        return math.inf


class Machine:
    """What this machine can give, looked up once."""

    def __init__(self, options: Options, layout: str) -> None:
        needed = sandbox.AS_POD if layout == "local-kubernetes" else ()
        python = interpreter.find(options.python)
        self.has_python = python is not None
        self.python = python or options.python or sys.executable or ""
        self.no_namespaces = _SWITCHED_OFF if options.namespaces == "never" else sandbox.unusable(needed)
        self.namespaces = None if self.no_namespaces else shutil.which("bwrap")
        self.sets_modes = self.namespaces is not None and sandbox.sets_modes(self.namespaces)
        self.has_shared_memory = leftovers.SHARED_MEMORY.is_dir()
        self.shows_processes = leftovers.can_look()
        self.limits_memory = cgroups.parent() is not None
        self.memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.cpus = os.cpu_count() or 1
        self.has_gpu = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
        self._containers = options.containers

    @cached_property
    def engine(self) -> Engine | str:
        """What runs images here, or why nothing does. Looked for when the first job names one."""
        from lyftlearn_local.containers.engine import find_engine  # noqa: PLC0415 - other jobs do without

        return find_engine(self._containers)


def _record(spec: JobSpec) -> dict[str, Any]:
    return {
        "id": spec.id,
        "kind": str(spec.kind),
        "name": spec.name,
        "labels": dict(spec.labels),
        "digest": spec.digest,
        "decision": spec.decision,
        "outputs": dict(spec.output_uris),
    }


def _uris(spec: JobSpec) -> Iterator[tuple[str, str]]:
    yield from ((f"inputs.{channel}", uri) for channel, uri in spec.inputs.items())
    yield from ((f"outputs.{name}", uri) for name, uri in spec.outputs.items() if uri)
    yield "output", spec.output_uri
    if spec.artifact:
        yield "artifact", spec.artifact
    if spec.source:
        yield "source", spec.source.uri


def _has_boto3() -> bool:
    return importlib.util.find_spec("boto3") is not None
