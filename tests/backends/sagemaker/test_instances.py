"""From `Resources` to an instance type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn_sagemaker.options import read_table
from lyftlearn_sagemaker.submission.instances import choose, instance_types
from tests.backends.sagemaker.specs import GIB, resources


def _choose(asked: Any, **instances: Any) -> Any:
    options = read_table("sagemaker", {"instances": instances})
    assert options.faults == ()
    return choose(asked, options.job)


@pytest.mark.parametrize(
    ("asked", "instance"),
    [
        (resources(), "ml.c7i.large"),
        (resources(16, 512), "ml.r5.24xlarge"),
        (resources(4, 14), "ml.m5.xlarge"),
        (resources(4, 16), "ml.r5.xlarge"),
        (resources(1, 2, gpu=1), "ml.g4dn.xlarge"),
        (resources(1, 2, gpu=1, gpu_type="A10G"), "ml.g5.xlarge"),
        (resources(8, 60, gpu=8, gpu_type="NVIDIA H100"), "ml.p5.48xlarge"),
    ],
)
def test_the_smallest_that_gives_it(asked: Any, instance: str) -> None:
    """Shapes that no instance has, such as 16 CPUs with 512 GB, get one that has more."""
    assert _choose(asked).instance == instance


@given(st.floats(0.1, 128), st.floats(0.1, 700), st.floats(1, 1000), st.integers(0, 8))
def test_a_choice_gives_at_least_what_was_asked(cpu: float, memory: float, disk: float, gpu: int) -> None:
    """A job that was promised memory must not be killed for using it."""
    asked = resources(cpu, memory, disk, gpu)
    choice = _choose(asked)
    if choice.instance is None:
        assert "nearest" in choice.fault
        return
    instance = instance_types()[choice.instance]
    assert instance.cpus >= cpu
    assert instance.usable_memory(0.06) >= asked.memory
    assert instance.gpus >= gpu
    assert not instance.local_disk or instance.local_disk >= asked.disk
    assert not instance.burstable
    assert not instance.neuron


@pytest.mark.parametrize(
    ("gpu_type", "instance"),
    [
        ("NVIDIA-A10G", "ml.g5.xlarge"),
        ("a10g", "ml.g5.xlarge"),
        ("nvidia-tesla-t4", "ml.g4dn.xlarge"),
        ("Tesla-T4", "ml.g4dn.xlarge"),
        ("Tesla-V100-SXM2-16GB", "ml.p3.2xlarge"),
        ("V100", "ml.p3.2xlarge"),
        ("NVIDIA-H100-80GB-HBM3", "ml.p5.4xlarge"),
        ("nvidia-h100-mega-80gb", "ml.p5.4xlarge"),
        ("NVIDIA-L4", "ml.g6.xlarge"),
        ("nvidia-l4", "ml.g6.xlarge"),
        ("NVIDIA-L40S", "ml.g6e.xlarge"),
        ("nvidia-l4-vws", "ml.g6.xlarge"),
        ("H100_NVLINK_80GB", "ml.p5.4xlarge"),
        ("Tesla-K80", "ml.p2.xlarge"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "ml.g7e.2xlarge"),
    ],
)
def test_names_of_gpus_on_kubernetes(gpu_type: str, instance: str) -> None:
    """A job that moves brings the name that its cluster's nodes are labelled with."""
    assert _choose(resources(1, 2, gpu=1, gpu_type=gpu_type)).instance == instance


@pytest.mark.parametrize(
    ("gpu_type", "instance"),
    [
        ("NVIDIA-A100-SXM4-80GB", "ml.p4de.24xlarge"),
        ("NVIDIA-A100-SXM4-40GB", "ml.p4d.24xlarge"),
        ("nvidia-tesla-a100", "ml.p4d.24xlarge"),
        ("Tesla-V100-SXM2-32GB", "ml.p3dn.24xlarge"),
        ("NVIDIA-H200", "ml.p5en.48xlarge"),
    ],
)
def test_no_eight_gpus_for_one(gpu_type: str, instance: str) -> None:
    """Seven that idle cost more than all the rest: whoever wants that says so."""
    fault = _choose(resources(1, 2, gpu=1, gpu_type=gpu_type)).fault
    assert f"the nearest is {instance}, which has 8 GPUs, not 1" in fault
    assert _choose(resources(1, 2, gpu=8, gpu_type=gpu_type)).instance == instance
    assert _choose(resources(1, 2, gpu=1, gpu_type=gpu_type), allow=[instance]).instance == instance
    assert _choose(resources(1, 2, gpu=1, gpu_type=gpu_type), pin=instance).instance == instance


@pytest.mark.parametrize("gpu_type", ["NVIDIA-A10G-SHARED", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "TPU", "nvidia"])
def test_gpus_that_nothing_has(gpu_type: str) -> None:
    """A part of a GPU is another thing than a GPU; nobody gets something else than was asked for."""
    assert f"not {gpu_type}" in _choose(resources(1, 2, gpu=1, gpu_type=gpu_type)).fault


@given(st.floats(1, 400))
def test_shared_memory_counts(gib: float) -> None:
    """/dev/shm lies in the machine's memory, and a job that asks for more than there is would fail at its start."""
    choice = _choose(replace(resources(1, 1), shared_memory=int(gib * GIB)))
    assert instance_types()[choice.instance].memory / 2 >= gib * GIB


@given(st.floats(0.1, 96), st.floats(0.1, 700), st.integers(0, 8))
def test_nothing_cheaper_would_do(cpu: float, memory: float, gpu: int) -> None:
    """By the prices that the table carries."""
    asked = resources(cpu, memory, 30, gpu)
    choice = _choose(asked)
    if choice.instance is None:
        return
    price = instance_types()[choice.instance].usd_per_hour
    assert price is not None
    for name, other in instance_types().items():
        unusual = other.burstable or other.neuron or other.retired or "flex" in name or other.architecture != "x86_64"
        too_many = other.gpus > 2 * gpu
        if (other.usd_per_hour or price) < price and not unusual and not too_many:
            assert _choose(asked, pin=name).fault, name


def test_what_nothing_gives_names_the_nearest() -> None:
    """`no` alone leaves the user to search a list of 225 names."""
    fault = _choose(resources(200, 4000)).fault
    assert fault.startswith("no allowed instance type gives this: the nearest is ml.r8i.96xlarge, which leaves ")
    assert "4000.0Gi" in fault


def test_a_job_without_gpus_gets_none() -> None:
    """Only an accelerated type has so much memory: that is an error that costs hundreds an hour."""
    asked = resources(1, 3000)
    assert "the nearest is ml.r8i.96xlarge, which leaves " in _choose(asked).fault
    for table in ({"allow": ["ml.p6*"]}, {"prefer": ["ml.p6-b300.*"]}, {"pin": "ml.p6-b300.48xlarge"}):
        assert _choose(asked, **table).instance == "ml.p6-b300.48xlarge"
    fault = _choose(asked, allow=["ml.r5.*"], architecture="arm64").fault
    assert fault == "instances.allow, deny and architecture (arm64) leave no instance type"


def test_allow_and_deny() -> None:
    """Quotas are given for some families only; a type that is named in full is allowed whatever it is."""
    assert _choose(resources(), allow=["ml.m5.*"]).instance == "ml.m5.large"
    assert _choose(resources(), deny=["ml.c7i*", "ml.c8i*", "ml.c[4-7]*"]).instance == "ml.m5.large"
    assert _choose(resources(), allow=["ml.t3.medium"]).instance == "ml.t3.medium"
    assert "leave no instance type" in _choose(resources(), deny=["*"]).fault


def test_prefer() -> None:
    """What is preferred is taken where it fits, and does not stand in the way where it does not."""
    assert _choose(resources(), prefer=["ml.r5.*"]).instance == "ml.r5.large"
    assert _choose(resources(16, 512), prefer=["ml.c5.*"]).instance == "ml.r5.24xlarge"


def test_pin() -> None:
    """Whoever pins a type gets it, or hears why it is too small; nobody gets less than was asked for."""
    assert _choose(resources(), pin="ml.m5.4xlarge").instance == "ml.m5.4xlarge"
    assert _choose(resources(), pin="ml.p6e-gb200.36xlarge").instance, "not described, but it exists"
    assert "has 4 CPUs, not 8" in _choose(resources(8), pin="ml.m5.xlarge").fault
    assert "does not offer" in _choose(resources(), pin="ml.m9.tiny").fault


def test_fixed_disks_are_large_enough() -> None:
    """A volume's size can be asked for, a local disk's cannot."""
    small, large = _choose(resources(gpu=1, disk=100)), _choose(resources(gpu=1, disk=1000))
    assert small.instance == "ml.g4dn.xlarge"
    assert instance_types()[large.instance].local_disk >= 1000 * GIB
