"""Writes the two tables that plans are made from: service_limits.json and instances.json.

Run it after an upgrade of botocore or moto: `python tests/backends/sagemaker/generate_tables.py`. A test holds the
tables against the installed sources.

service_limits.json is the part of botocore's service model of SageMaker that describes the members of CreateTrainingJob
which the backend sends. instances.json joins the model's list of training instance types with the description of EC2
instance types that moto ships (Apache-2.0), which is what EC2 itself answers to DescribeInstanceTypes, and with the
prices of EC2's own instances in ec2_prices.json, which names its source. SageMaker charges more for each, in much the
same proportion, so that the order of prices is its order. Types that nobody describes stand in it without numbers: they
can be pinned, but are never chosen.
"""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore
import moto
from botocore.loaders import Loader

PACKAGE = Path(__file__).parents[3] / "backends" / "lyftlearn_sagemaker" / "submission"
SENT = (
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig",
    "ResourceConfig", "VpcConfig", "StoppingCondition", "Tags", "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining", "CheckpointConfig", "Environment",
    "RetryStrategy", "RemoteDebugConfig",
)  # fmt: skip
KEPT = ("type", "min", "max", "pattern", "enum", "required")
GIB = 1024
PRICES = Path(__file__).parent / "ec2_prices.json"
RETIRED = {
    "p2.xlarge": (4, 62464, 1, "K80", 12288),
    "p2.8xlarge": (32, 499712, 8, "K80", 12288),
    "p2.16xlarge": (64, 749568, 16, "K80", 12288),
    "p3.2xlarge": (8, 62464, 1, "V100", 16384),
    "p3.8xlarge": (32, 249856, 4, "V100", 16384),
    "p3.16xlarge": (64, 499712, 8, "V100", 16384),
}
"""vCPUs, MiB of memory, GPUs, and MiB of each GPU's memory of types that EC2 does not describe any more and SageMaker
still offers: github.com/aws/karpenter-provider-aws, website/content/en/v1.0/reference/instance-types.md."""


def service_model() -> dict[str, Any]:
    """Return botocore's model of SageMaker."""
    model: dict[str, Any] = Loader().load_service_model("sagemaker", "service-2")
    return model


def service_limits(model: dict[str, Any]) -> dict[str, Any]:
    """Return every shape that a request of ours reaches, with its constraints."""
    shapes = model["shapes"]
    root = shapes["CreateTrainingJobRequest"]
    reached = {"CreateTrainingJobRequest": {**root, "members": {name: root["members"][name] for name in SENT}}}
    waiting = ["CreateTrainingJobRequest"]
    while waiting:
        for child in children(reached[waiting.pop()]):
            if child not in reached:
                reached[child] = shapes[child]
                waiting.append(child)
    return {"botocore": botocore.__version__, "shapes": {name: compact(reached[name]) for name in sorted(reached)}}


def children(shape: dict[str, Any]) -> list[str]:
    """Return the names of the shapes that `shape` is made of."""
    members = [member["shape"] for member in shape.get("members", {}).values()]
    return members + [shape[part]["shape"] for part in ("member", "key", "value") if part in shape]


def compact(shape: dict[str, Any]) -> dict[str, Any]:
    """Return what of a shape constrains values, without its documentation."""
    kept = {name: shape[name] for name in KEPT if name in shape}
    if "members" in shape:
        kept["members"] = {name: member["shape"] for name, member in shape["members"].items()}
    return kept | {part: shape[part]["shape"] for part in ("member", "key", "value") if part in shape}


def instances(model: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each training instance type."""
    described = json.loads(gzip.decompress((files(moto) / "ec2/resources/instance_types.json.gz").read_bytes()))
    described = {**{name: retired_type(*facts) for name, facts in RETIRED.items()}, **described}
    prices = json.loads(PRICES.read_text(encoding="utf-8"))
    names = model["shapes"]["TrainingInstanceType"]["enum"]
    return {
        "botocore": botocore.__version__,
        "moto": moto.__version__,
        "prices": f"EC2 in {prices['region']}, {prices['generated'][:10]}",
        "types": {
            name: row(described.get(name.removeprefix("ml.")), prices["usd_per_hour"].get(name.removeprefix("ml.")))
            for name in sorted(names)
        },
    }


def retired_type(cpus: int, memory: int, gpus: int, gpu: str, gpu_memory: int) -> dict[str, Any]:
    """Return what EC2 would say of a type without disks of its own."""
    return {
        "VCpuInfo": {"DefaultVCpus": cpus},
        "MemoryInfo": {"SizeInMiB": memory},
        "GpuInfo": {"Gpus": [{"Count": gpus, "Name": gpu, "MemoryInfo": {"SizeInMiB": gpu_memory}}]},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "BurstablePerformanceSupported": False,
        "Retired": True,
    }


def row(ec2: dict[str, Any] | None, price: float | None) -> dict[str, Any] | None:
    """Return vCPUs, GiB of memory, GPUs, GB of local disk architecture and price of one EC2 instance type."""
    if ec2 is None:
        return None
    gpus = ec2.get("GpuInfo", {}).get("Gpus", [])
    return {
        "cpus": ec2["VCpuInfo"]["DefaultVCpus"],
        "memory_gib": ec2["MemoryInfo"]["SizeInMiB"] / GIB,
        "gpus": sum(gpu["Count"] for gpu in gpus),
        "gpu": gpus[0]["Name"] if gpus else None,
        "gpu_memory_gib": round(sum(gpu["Count"] * gpu["MemoryInfo"]["SizeInMiB"] for gpu in gpus) / GIB, 2),
        "local_disk_gb": ec2.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
        "architecture": ec2["ProcessorInfo"]["SupportedArchitectures"][0],
        "neuron": "NeuronInfo" in ec2,
        "burstable": ec2["BurstablePerformanceSupported"],
        "retired": ec2.get("Retired", False),
        "usd_per_hour": price,
    }


def rendered(table: dict[str, Any]) -> str:
    """Return the table as a file: one line for each of its rows, so that changes can be read."""
    head = {name: value for name, value in table.items() if not isinstance(value, dict)}
    ((name, rows),) = ((name, value) for name, value in table.items() if isinstance(value, dict))
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in rows.items())
    return f"{json.dumps(head)[:-1]}, {json.dumps(name)}: {{\n{lines}\n}}}}\n"


def main() -> None:
    """Write both tables."""
    model = service_model()
    (PACKAGE / "service_limits.json").write_text(rendered(service_limits(model)), encoding="utf-8")
    (PACKAGE / "instances.json").write_text(rendered(instances(model)), encoding="utf-8")


if __name__ == "__main__":
    main()
