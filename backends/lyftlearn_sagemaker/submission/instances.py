"""From `Resources` to an instance type: the cheapest that gives at least what was asked for.

Cheapest by EC2's on-demand prices of the same types in us-east-1, which the table carries with their date: SageMaker
charges more for each, in much the same proportion. A type without a known price comes after those with one; among
equals the smaller is taken, by GPUs, GPU memory, then vCPUs and memory, one vCPU counting as much as 8 GiB.
`instances.prefer` decides otherwise.
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
    from lyftlearn_sagemaker.job_options import JobOptions

GIB = 1 << 30
GB = 10**9
_GIB_PER_CPU = 8
_SHARED_MEMORY_SHARE = 0.5
"""Of a machine's memory: Linux gives a tmpfs, as /dev/shm is, half of it (kernel documentation, filesystems/tmpfs)."""
_MOST_GPUS_FOR_ONE = 2  # of an instance, for each that was asked for; more is an error that costs thousands
_GPU_MEMORY_TOLERANCE = 0.15  # names say 24 GB where a driver sees 22.4 GiB
_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
_LEAST_SYSTEM_MEMORY = GIB  # what the operating system and SageMaker's agents are given at least


@dataclass(frozen=True)
class Instance:
    """One instance type. Memory and disk in bytes; local_disk is 0 where the volume has the size that was asked for.

    retired: EC2 itself does not offer it any more. usd_per_hour: of EC2, None where no price is known.
    """

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
    retired: bool
    usd_per_hour: float | None

    def usable_memory(self, system_share: float) -> int:
        """Return what a job gets of the memory."""
        return self.memory - max(_LEAST_SYSTEM_MEMORY, int(self.memory * system_share))

    @property
    def size(self) -> tuple[int, float, float]:
        """By what `cheapest` is judged."""
        return self.gpus, self.gpu_memory_gib, self.cpus + self.memory / GIB / _GIB_PER_CPU


@dataclass(frozen=True)
class Choice:
    """The instance types for a job, the first choice first, or why there is none."""

    instances: tuple[str, ...] = ()
    fault: str = ""

    @property
    def instance(self) -> str | None:
        """The first choice."""
        return self.instances[0] if self.instances else None


def choose(request: ResourceRequest, options: JobOptions) -> Choice:
    """Return the cheapest allowed instance types that give at least what was asked for."""
    if options.instances_pin:
        return _check_pin(options.instances_pin, request, options)
    allowed = [instance for instance in instance_types().values() if _is_allowed(instance, options)]
    fitting = [instance for instance in allowed if not list(_lacks(instance, request, options))]
    if fitting:
        ranked = sorted(fitting, key=lambda instance: _rank(instance, options))
        alike = [instance.name for instance in ranked if _is_alike(instance, ranked[0], options)]
        return Choice(tuple(alike[: options.instances_choices]))
    return Choice(fault=_nothing_fits(request, allowed, options))


def _is_alike(instance: Instance, first: Instance, options: JobOptions) -> bool:
    """Whether one image, and one key for the volume, serve both."""
    same_image = (instance.architecture, instance.neuron, instance.gpus > 0) == (
        first.architecture,
        first.neuron,
        first.gpus > 0,
    )
    return same_image and (not options.keys_volume or (instance.local_disk > 0) == (first.local_disk > 0))


def first_instance(resources: Mapping[str, Any]) -> str:
    """Return the instance type of a job's resources, of several the first."""
    return str(
        resources["InstanceType"] if "InstanceType" in resources else _first_preference(resources)["InstanceType"]
    )


def on_first_instance(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same resources with one instance type, the first, for a client that knows no list of them."""
    first = _first_preference(resources)
    plan = {"TrainingPlanArn": first["TrainingPlanArns"][0]} if "TrainingPlanArns" in first else {}
    rest = {key: value for key, value in resources.items() if key != "InstancePreferences"}
    return {"InstanceType": first["InstanceType"], **plan, **rest}


def without_refused(resources: Mapping[str, Any], message: str) -> dict[str, Any] | None:
    """Return the same resources without the types that a refusal of the create is about; None if it is about no list.

    Each type of a list needs a quota of its own, and one quota that is used up refuses the whole list. Where the list
    itself is refused, the first type is what remains.
    """
    preferences = resources.get("InstancePreferences", ())
    if "InstancePreferences" in message and preferences:
        return on_first_instance(resources)
    left = [one for one in preferences if one["InstanceType"] not in _TYPE.findall(message)]
    if not left or len(left) == len(preferences):
        return None
    fewer = {**resources, "InstancePreferences": left}
    return fewer if len(left) > 1 else on_first_instance(fewer)


def _first_preference(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    first: Mapping[str, Any] = resources["InstancePreferences"][0]
    return first


def is_accelerated(name: str) -> bool:
    """Whether SageMaker bounds how long a job waits for this type: for families of p, g and trn alone."""
    return re.match(r"ml\.(p|g|trn)\d", name) is not None


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
        retired=row["retired"],
        usd_per_hour=row["usd_per_hour"],
    )


def _check_pin(name: str, request: ResourceRequest, options: JobOptions) -> Choice:
    if name not in _table():
        return Choice(fault=f"instances.pin is {name!r}, which SageMaker does not offer for training")
    if name not in instance_types():
        return Choice((name,))  # nobody knows what it has: whoever pins it does
    lacking = list(_lacks(instance_types()[name], request, options))
    return Choice(fault=f"instances.pin is {name}, which {_join(lacking)}") if lacking else Choice((name,))


def _is_allowed(instance: Instance, options: JobOptions) -> bool:
    if _matches(instance.name, options.instances_deny):
        return False
    if instance.name in options.instances_allow:
        return True
    unusual = instance.neuron or instance.burstable or "-flex." in instance.name  # flex: 40% of a CPU is promised
    ordinary = instance.architecture == options.instances_architecture and not unusual
    return ordinary and (not options.instances_allow or _matches(instance.name, options.instances_allow))


def _lacks(instance: Instance, request: ResourceRequest, options: JobOptions) -> Iterator[str]:
    named = (*options.instances_allow, options.instances_pin)
    memory = instance.usable_memory(options.instances_system_share)
    if instance.cpus < request.cpu:
        yield f"has {instance.cpus} CPUs, not {request.cpu:g}"
    if memory < request.memory:
        yield f"leaves {memory / GIB:.1f}Gi of memory to a job, not {request.memory / GIB:.1f}Gi"
    if instance.memory * _SHARED_MEMORY_SHARE < (request.shared_memory or 0):
        shared, needed = instance.memory * _SHARED_MEMORY_SHARE / GIB, (request.shared_memory or 0) / GIB
        yield f"has {shared:.1f}Gi of shared memory, not {needed:.1f}Gi"
    if instance.retired and not request.gpu_type and instance.name not in named:
        yield "EC2 offers no more (name its GPU to have it)"
    if instance.gpus < request.gpu:
        yield f"has {instance.gpus} GPUs, not {request.gpu}"
    if instance.gpus and not (request.gpu or request.gpu_type or _is_wanted(instance, options)):
        yield f"has {instance.gpus} GPUs, and none were asked for (name the type in instances.allow to have it)"
    if instance.gpus > _MOST_GPUS_FOR_ONE * request.gpu > 0 and instance.name not in named:
        yield f"has {instance.gpus} GPUs, not {request.gpu} (ask for all of them, or name the type in instances.allow)"
    if request.gpu_type and not _is_gpu(instance, request.gpu_type):
        yield f"has {_gpu_name(instance)}, not {request.gpu_type}"
    if instance.local_disk and instance.local_disk < request.disk:
        yield f"has {instance.local_disk / GIB:.0f}Gi of disk, which is fixed, not {request.disk / GIB:.0f}Gi"


def _is_wanted(instance: Instance, options: JobOptions) -> bool:
    """Whether the configuration asks for a type, so that a job without GPUs may have one with some."""
    patterns = (*options.instances_allow, *options.instances_prefer)
    return instance.name == options.instances_pin or _matches(instance.name, patterns)


def _rank(instance: Instance, options: JobOptions) -> tuple[Any, ...]:
    preferences = options.instances_prefer
    preference = next((n for n, one in enumerate(preferences) if fnmatchcase(instance.name, one)), len(preferences))
    price = instance.usd_per_hour if instance.usd_per_hour is not None else float("inf")
    return preference, price, *instance.size, instance.name


def _nothing_fits(request: ResourceRequest, allowed: Sequence[Instance], options: JobOptions) -> str:
    if not allowed:
        return f"instances.allow, deny and architecture ({options.instances_architecture}) leave no instance type"
    nearest = min(allowed, key=lambda instance: _distance(instance, request, options))
    lacking = _join(list(_lacks(nearest, request, options)))
    return f"no allowed instance type gives this: the nearest is {nearest.name}, which {lacking}"


def _distance(instance: Instance, request: ResourceRequest, options: JobOptions) -> tuple[Any, ...]:
    """How far an instance is from what was asked for: another GPU, or a needless one, is farther than less of all."""
    other_gpu = bool(request.gpu_type) and not _is_gpu(instance, request.gpu_type or "")
    needless = instance.gpus > 0 and not (request.gpu or request.gpu_type)
    return other_gpu or needless, len(list(_lacks(instance, request, options))), _shortfall(instance, request, options)


def _shortfall(instance: Instance, request: ResourceRequest, options: JobOptions) -> tuple[float, tuple[Any, ...]]:
    """How much of what was asked for is missing, as parts of it; then the rank among equals."""
    pairs = [
        (instance.cpus, request.cpu),
        (instance.usable_memory(options.instances_system_share), request.memory),
        (instance.gpus, request.gpu),
        (instance.local_disk or request.disk, request.disk),
    ]
    missing = sum(max(0.0, 1 - has / needed) for has, needed in pairs if needed)
    return missing, _rank(instance, options)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_GPU_NOISE = frozenset((
    "nvidia", "tesla", "tensor", "core", "gpu", "geforce", "mega", "server", "blackwell", "edition", "nvl", "pcie",
    "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6", "hbm2", "hbm2e", "hbm3", "hbm3e", "nvlink", "vws",
))  # fmt: skip
"""Words in the names of GPUs that tell no two types of instances apart."""
_GPU_MEMORY = re.compile(r"([0-9]+)gi?b?")


def _is_gpu(instance: Instance, name: str) -> bool:
    """Whether the instance has GPUs of this name.

    Names are those of EC2 and Karpenter (`A10G`, `a10g`), of NVIDIA's feature discovery on Kubernetes nodes
    (`NVIDIA-A100-SXM4-80GB`, `Tesla-T4`), of GKE (`nvidia-tesla-t4`,
    `nvidia-h100-80gb`, `nvidia-l4-vws`), and of CoreWeave (`H100_NVLINK_80GB`). Memory counts where the name has it.
    """
    words, memory = _gpu_words(name)
    if not instance.gpus or words != _gpu_words(instance.gpu or "")[0]:
        return False
    each = instance.gpu_memory_gib / instance.gpus
    return memory is None or abs(each - memory) <= memory * _GPU_MEMORY_TOLERANCE


def _gpu_words(name: str) -> tuple[frozenset[str], int | None]:
    """Return the words that tell a GPU from others, and the GB of memory that its name has."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    sizes = [int(match[1]) for word in words if (match := _GPU_MEMORY.fullmatch(word))]
    telling = frozenset(word for word in words if word not in _GPU_NOISE and not _GPU_MEMORY.fullmatch(word))
    return telling, sizes[0] if sizes else None


def _gpu_name(instance: Instance) -> str:
    each = instance.gpu_memory_gib / instance.gpus if instance.gpus else 0
    return f"{instance.gpu} of {each:.0f}Gi" if instance.gpu else "no GPU"


def _join(parts: Sequence[str]) -> str:
    return " and ".join(parts)
