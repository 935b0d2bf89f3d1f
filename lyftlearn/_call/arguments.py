"""What the caller wrote, checked and normalised, before anything is decided.

Every fault is found before the first is reported. Limits have their source beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._call import checks
from lyftlearn._call.locations import artifact
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.spec import ResourceRequest
from lyftlearn.errors import InvalidJob
from lyftlearn.types import JobKind, Resources

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.runtime.location import Location

DEFAULT_OUTPUTS = {JobKind.TRAIN: {"output": None}}
# What version 1.0.0 digested for a `Resources` whose fields were left open. These never change: see `as_written`.
_FIRST_DEFAULTS: Mapping[str, Any] = {
    "cpu": 1.0,
    "memory": 2 << 30,
    "gpu": 0,
    "gpu_type": None,
    "disk": 30 << 30,
    "shared_memory": None,
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """One call. What the caller left open is None."""

    kind: JobKind
    name: str
    command: tuple[str, ...] = ()
    image: str | None = None
    source: Path | None = None
    hyperparameters: str = "{}"
    inputs: Mapping[str, Location] = field(default_factory=dict)
    outputs: Mapping[str, str | None] = field(default_factory=dict)
    artifact: Location | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    resources: ResourceRequest
    nodes: int = 1
    timeout: timedelta | None = None
    retries: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    idle_timeout: timedelta | None = None
    search: str | None = None

    def as_written(self) -> dict[str, Any]:
        """Return what a digest is made over, but for the content of paths.

        One call has one digest in every version, or an upgrade would make each repeated key a Conflict. So the keys of
        version 1.0.0 are always here, and whatever is newer is here only where the caller wrote it.
        """
        return {
            "kind": str(self.kind),
            "name": self.name,
            "command": list(self.command),
            "image": self.image,
            "hyperparameters": json.loads(self.hyperparameters),
            "outputs": dict(self.outputs),
            "env": dict(self.env),
            "secrets": list(self.secrets),
            "resources": _resources_as_written(self.resources),
            "nodes": self.nodes,
            "timeout": self.timeout.total_seconds() if self.timeout else None,
            "retries": self.retries,
            "labels": dict(self.labels),
            "idle_timeout": self.idle_timeout.total_seconds() if self.idle_timeout else None,
            "search": json.loads(self.search) if self.search else None,
        }


def _resources_as_written(resources: ResourceRequest) -> dict[str, Any]:
    """Return fields that were left open as version 1.0.0 had them, whatever their default is by now."""
    defaults = vars(_default_resources())
    written = dict(_FIRST_DEFAULTS)
    for name, value in vars(resources).items():
        if value != defaults[name]:
            written[name] = value if value != _FIRST_DEFAULTS.get(name, ...) else ["written", value]
    return written


def check(
    kind: JobKind,
    given: Mapping[str, Any],
    config: Config | None = None,
    is_seen: Callable[[str], bool] = lambda _: False,
) -> Arguments:
    """Return `given`, the keyword arguments of a call, as Arguments. Raises InvalidJob with every fault.

    config: says what is never part of a source. is_seen: whether jobs see a path by themselves that is not here.
    """
    faults: list[Fault] = []
    name_field = "model" if "model" in given else "name"
    resolved: dict[str, Any] = {"kind": kind, "name": checks.name(name_field, given[name_field], faults)}
    checkers: dict[str, Callable[..., Any]] = {
        **_CHECKERS,
        "inputs": partial(checks.inputs, is_seen=is_seen),
        "artifact": partial(artifact, is_seen=is_seen),
    }
    for argument, value in given.items():
        checker = checkers.get(argument)
        if checker is not None:
            resolved[argument] = checker(argument, value, faults)
    if "source" in given:
        resolved["source"] = checks.source("source", given["source"], faults, config)
    resolved["outputs"] = resolved.get("outputs", DEFAULT_OUTPUTS.get(kind, {}))
    if kind is JobKind.TUNE:
        from lyftlearn._call.search_space import search  # noqa: PLC0415 - only for searches

        resolved["search"] = search(given, faults)
    if faults:
        raise InvalidJob(faults)
    return Arguments(**resolved)


def _resources(path: str, value: Resources | None, faults: list[Fault]) -> ResourceRequest:
    return _default_resources() if value is None else checks.resources(path, value, faults)


@cache
def _default_resources() -> ResourceRequest:
    return checks.resources("resources", Resources(), [])


_CHECKERS = {
    "command": checks.command,
    "image": checks.image,
    "hyperparameters": checks.hyperparameters,
    "outputs": checks.outputs,
    "env": checks.env,
    "secrets": checks.secrets,
    "resources": _resources,
    "nodes": checks.nodes,
    "timeout": checks.timeout,
    "idle_timeout": checks.idle_timeout,
    "retries": checks.retries,
    "labels": checks.labels,
    "key": checks.key,
}
