"""From `Resources` to an instance type.

There is no list of prices in here: none with a maintained source and a date can be had without asking AWS. What is
cheapest is therefore judged by size: fewer GPUs, then less GPU memory, then fewer vCPUs and less memory, one vCPU
counting as much as 8 GiB; of equals the older generation, which more regions have. `instances.prefer` decides
otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.backend import ResourceRequest
    from lyftlearn_sagemaker.options import JobOptions

GIB = 1 << 30
GB = 10**9
_GIB_PER_CPU = 8
_LEAST_SYSTEM_MEMORY = GIB  # what the operating system and SageMaker's agents are given at least
_OLDEST = 5  # generations before it are not on Nitro, and are hardly to be had


@dataclass(frozen=True)
class Instance:
    """One instance type. Memory and disk in bytes; local_disk is 0 where the volume has the size that was asked for."""

    name: str
    cpus: int
    memory: int
    gpus: int
    gpu: str | None
    gpu_memory_gib: float
    local_disk: int
    architecture: str
    neuron: bool
    burstable: bool

    def usable_memory(self, system_share: float) -> int:
        """Return what a job gets of the memory."""
        return self.memory - max(_LEAST_SYSTEM_MEMORY, int(self.memory * system_share))

    @property
    def size(self) -> tuple[int, float, float]:
        """By what `cheapest` is judged."""
        return self.gpus, self.gpu_memory_gib, self.cpus + self.memory / GIB / _GIB_PER_CPU


@dataclass(frozen=True)
class Choice:
    """The instance type for a job, or why there is none."""

    instance: str | None
    fault: str = ""


def choose(asked: ResourceRequest, options: JobOptions) -> Choice:
    """Return the smallest allowed instance type that gives at least what was asked for."""
    if options.instances_pin:
        return _pinned(options.instances_pin, asked, options)
    allowed = [instance for instance in instance_types().values() if _allowed(instance, options)]
    fitting = [instance for instance in allowed if not list(_lacks(instance, asked, options))]
    if fitting:
        return Choice(min(fitting, key=lambda instance: _rank(instance, options)).name)
    return Choice(None, _nothing_fits(asked, allowed, options))


@cache
def instance_types() -> Mapping[str, Instance]:
    """Return every instance type of the table that is described in it."""
    return {name: _instance(name, row) for name, row in _table().items() if row}


@cache
def _table() -> Mapping[str, Any]:
    text = (Path(__file__).parent / "instances.json").read_text(encoding="utf-8")
    types: Mapping[str, Any] = json.loads(text)["types"]
    return types


def _instance(name: str, row: Mapping[str, Any]) -> Instance:
    return Instance(
        name=name,
        cpus=row["cpus"],
        memory=int(row["memory_gib"] * GIB),
        gpus=row["gpus"],
        gpu=row["gpu"],
        gpu_memory_gib=row["gpu_memory_gib"],
        local_disk=row["local_disk_gb"] * GB,
        architecture=row["architecture"],
        neuron=row["neuron"],
        burstable=row["burstable"],
    )


def _pinned(name: str, asked: ResourceRequest, options: JobOptions) -> Choice:
    if name not in _table():
        return Choice(None, f"instances.pin is {name!r}, which SageMaker does not offer for training")
    if name not in instance_types():
        return Choice(name)  # nobody knows what it has: whoever pins it does
    lacking = list(_lacks(instance_types()[name], asked, options))
    return Choice(None, f"instances.pin is {name}, which {_and(lacking)}") if lacking else Choice(name)


def _allowed(instance: Instance, options: JobOptions) -> bool:
    if _matches(instance.name, options.instances_deny):
        return False
    if instance.name in options.instances_allow:
        return True
    ordinary = instance.architecture == options.instances_architecture and not (instance.neuron or instance.burstable)
    return ordinary and (not options.instances_allow or _matches(instance.name, options.instances_allow))


def _lacks(instance: Instance, asked: ResourceRequest, options: JobOptions) -> Iterator[str]:
    memory = instance.usable_memory(options.instances_system_share)
    if instance.cpus < asked.cpu:
        yield f"has {instance.cpus} CPUs, not {asked.cpu:g}"
    if memory < asked.memory:
        yield f"leaves {memory / GIB:.1f}Gi of memory to a job, not {asked.memory / GIB:.1f}Gi"
    if instance.gpus < asked.gpu:
        yield f"has {instance.gpus} GPUs, not {asked.gpu}"
    if asked.gpu_type and _plain(asked.gpu_type) != _plain(instance.gpu or ""):
        yield f"has {instance.gpu or 'no GPU'}, not {asked.gpu_type}"
    if instance.local_disk and instance.local_disk < asked.disk:
        yield f"has {instance.local_disk / GIB:.0f}Gi of disk, which is fixed, not {asked.disk / GIB:.0f}Gi"


def _rank(instance: Instance, options: JobOptions) -> tuple[Any, ...]:
    preferences = options.instances_prefer
    preference = next((n for n, one in enumerate(preferences) if fnmatchcase(instance.name, one)), len(preferences))
    generation = int((re.search(r"\d+", instance.name) or ["99"])[0])
    return preference, *instance.size, generation < _OLDEST, instance.local_disk > 0, generation, instance.name


def _nothing_fits(asked: ResourceRequest, allowed: Sequence[Instance], options: JobOptions) -> str:
    if not allowed:
        return "instances.allow and instances.deny leave no instance type"
    nearest = min(allowed, key=lambda one: (len(list(_lacks(one, asked, options))), _shortfall(one, asked, options)))
    lacking = _and(list(_lacks(nearest, asked, options)))
    return f"no allowed instance type gives this: the nearest is {nearest.name}, which {lacking}"


def _shortfall(instance: Instance, asked: ResourceRequest, options: JobOptions) -> tuple[float, tuple[Any, ...]]:
    """How much of what was asked for is missing, as parts of it; then the rank among equals."""
    pairs = [
        (instance.cpus, asked.cpu),
        (instance.usable_memory(options.instances_system_share), asked.memory),
        (instance.gpus, asked.gpu),
        (instance.local_disk or asked.disk, asked.disk),
    ]
    missing = sum(max(0.0, 1 - has / wanted) for has, wanted in pairs if wanted)
    return missing, _rank(instance, options)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _plain(gpu: str) -> str:
    """`NVIDIA A10G`, `nvidia-a10g` and `A10G` are the same."""
    return re.sub(r"[^a-z0-9]", "", gpu.lower()).removeprefix("nvidia").removeprefix("tesla")


def _and(parts: Sequence[str]) -> str:
    return " and ".join(parts)
