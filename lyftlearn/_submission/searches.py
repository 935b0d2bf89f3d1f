"""From a call of `tune` to its driver: an ordinary job, whose hyperparameters say everything of the search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._call.arguments import DEFAULT_OUTPUTS
from lyftlearn._contract import ids
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.spec import JobSpec, ResourceRequest
from lyftlearn._studies.study import FORMAT, LABEL
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._submission.preparation import Content
    from lyftlearn.backend import Backend, DriverSettings, Plan
    from lyftlearn.config import Config

MODULE = "lyftlearn.tuning"
_RESTARTS = 5  # of a driver that was killed; what it did before stands in the storage
_RESOURCES = ResourceRequest(cpu=1, memory=2 << 30, gpu=0, gpu_type=None, disk=10 << 30, shared_memory=None)


def plan(config: Config, content: Content, spec: JobSpec, backend: Backend) -> Plan:
    """Return the plan of the driver, with what stands against it and against its trials.

    spec: of the call, where each trial's files and image are settled.
    """
    trial = _trial_spec(config, spec, backend.name)
    driver = backend.plan(_driver_spec(config, content, spec, backend))
    trials = backend.plan(trial)
    faults = [*backend.unmet(trial.kind, trial.nodes, trial.retries), *trials.faults, *_of_driver(driver.faults)]
    notes = dict.fromkeys((*trials.notes, *driver.notes))
    return replace(driver, faults=tuple(dict.fromkeys(faults)), notes=tuple(notes))


def _trial_spec(config: Config, spec: JobSpec, backend: str) -> JobSpec:
    """Return the first trial as it would be planned, but for what is drawn."""
    letter = spec.id[-12]
    trial_id = ids.new_id(spec.name, JobKind.TRAIN, letter, json.dumps([spec.id, backend]))
    return replace(
        spec,
        id=trial_id,
        kind=JobKind.TRAIN,
        outputs=DEFAULT_OUTPUTS[JobKind.TRAIN],
        output_uri=f"{config.output_url}/{trial_id}/output",
        labels=MappingProxyType({**spec.labels, LABEL: spec.id}),
    )


def _driver_spec(config: Config, content: Content, spec: JobSpec, backend: Backend) -> JobSpec:
    settings = backend.driver_settings(spec.name)
    return replace(
        spec,
        command=(settings.python, "-m", MODULE),
        image=config.image_on(backend.name, config.tune_image),
        source=None,
        hyperparameters=json.dumps(_document(config, content, spec, backend.name, settings), separators=(",", ":")),
        inputs={},
        env=MappingProxyType(dict(settings.env)),
        secrets=(),
        resources=_RESOURCES,
        nodes=1,
        timeout=config.tune_timeout,
        retries=_RESTARTS,
    )


def _document(
    config: Config, content: Content, spec: JobSpec, backend: str, settings: DriverSettings
) -> dict[str, Any]:
    search = json.loads(content.arguments.search or "{}")
    return {
        "format": FORMAT,
        "id": spec.id,
        "backend": backend,
        "project": config.project,
        "digest": content.digest,
        "seed": _seed(spec, search),
        "search": search,
        "trial": _trial(spec, content),
        "output_url": config.output_url,
        "timeout": config.tune_timeout.total_seconds(),
        "config": _tables(config, backend, settings),
    }


def _seed(spec: JobSpec, search: Mapping[str, Any]) -> str:
    """Return a digest of what is searched: the same wherever the call stands and wherever its code and data lie."""
    searched = {"name": spec.name, "hyperparameters": json.loads(spec.hyperparameters), "search": search}
    return hashlib.sha256(json.dumps(searched, sort_keys=True).encode()).hexdigest()


def _trial(spec: JobSpec, content: Content) -> dict[str, Any]:
    source = content.source
    return {
        "name": spec.name,
        "command": list(spec.command),
        "image": spec.image,
        "source": {"sha256": source.sha256, "content": source.content} if source else None,
        "hyperparameters": json.loads(spec.hyperparameters),
        "inputs": dict(spec.inputs),
        "env": dict(spec.env),
        "secrets": list(spec.secrets),
        "resources": asdict(spec.resources),
        "nodes": spec.nodes,
        "timeout": spec.timeout.total_seconds(),
        "retries": spec.retries,
        "labels": dict(spec.labels),
    }


def _tables(config: Config, backend: str, settings: DriverSettings) -> dict[str, Any]:
    """Return what the driver is configured with: all that a trial needs, and nothing of flags and journals."""
    table = config.table(backend) if settings.table is None else settings.table
    letters = config.table("backends").get("letters", {})
    return {
        "project": config.project,
        "backend": backend,
        "storage": {"url": config.storage_url},
        "jobs": {"output": config.output_url, "timeout": _text(config.timeout), "grace": _text(config.grace)},
        "backends": {"letters": dict(letters)},
        backend: dict(table),
        **({"home": str(settings.home)} if settings.home else {}),
    }


def _text(duration: timedelta) -> str:
    return f"{duration.total_seconds():f}s"


def _of_driver(faults: Sequence[tuple[str, str]]) -> list[Fault]:
    """Return a driver's faults, named by what a person set for it."""
    names = {"image": "tune.image", "timeout": "tune.timeout"}
    return [Fault(names.get(path, path), problem) for path, problem in faults]
