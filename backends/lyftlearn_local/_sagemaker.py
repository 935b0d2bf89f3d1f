"""What a SageMaker training container is given: `/opt/ml`, its variables, root. And what becomes of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from lyftlearn_local._place import CannotGoOn, NodeFacts, Place, hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local._state import JobFiles

REGION = "us-east-1"
ACCOUNT = "000000000000"
BUNDLE_CHANNEL = "lyftlearn"
_CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}


def training(node: NodeFacts) -> Place:
    """The layout of one instance of a training job."""
    ml = node.directory / "ml"
    place = Place(ml / "output" / "failure")
    place.tells_success = False
    place.user = None if os.geteuid() == 0 else (0, 0)
    place.hostname = _host(node.rank)
    place.bind(ml, "/opt/ml")
    place.bind(node.directory / "lyftlearn", "/lyftlearn")
    for name in ("input/config", f"input/data/{BUNDLE_CHANNEL}", "model", "output/data", "checkpoints"):
        (ml / name).mkdir(parents=True)
    shutil.copyfile(node.job.path / "bundle.json", ml / "input" / "data" / BUNDLE_CHANNEL / "bundle.json")
    for channel, uri in node.run["channels"].items():
        _fill(channel, uri, ml / "input" / "data" / channel, node)
    _write_configuration(node, ml / "input" / "config")
    _name_hosts(node, place)
    place.variables |= _variables(node)
    return place


def pack(job: JobFiles, run: dict[str, Any], environment: dict[str, str]) -> None:
    """Keep the model and the outputs as the platform does after success; raises CannotGoOn."""
    ml = job.node(0) / "ml"
    _platform(run, environment, "pack", str(ml), run["output_uri"], *run["packs"])


def _fill(channel: str, uri: str, place: Path, node: NodeFacts) -> None:
    try:
        _platform(node.run, node.environment, "fetch", uri, str(place))
    except CannotGoOn as fault:
        raise CannotGoOn("configuration", f"inputs.{channel}: {fault}") from fault


def _write_configuration(node: NodeFacts, config: Path) -> None:
    names = [_host(rank) for rank in range(node.count)]
    instances = [{"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": names}]
    resources = {
        "current_host": _host(node.rank),
        "current_instance_type": "local",
        "current_group_name": "homogeneousCluster",
        "hosts": names,
        "instance_groups": instances,
        "network_interface_name": "lo",
    }
    channels = dict.fromkeys((BUNDLE_CHANNEL, *node.run["channels"]), _CHANNEL)
    for name, content in (("hyperparameters", {}), ("resourceconfig", resources), ("inputdataconfig", channels)):
        (config / f"{name}.json").write_text(json.dumps(content))


def _name_hosts(node: NodeFacts, place: Place) -> None:
    """The instances know each other by name; here all are this machine."""
    known = "".join(f"{address} {_host(rank)}\n" for rank, address in enumerate(hosts(node.count)))
    file = node.directory / "hosts"
    file.write_text(Path("/etc/hosts").read_text() + f"\n{known}")
    place.binds.append((str(file), "/etc/hosts"))


def _variables(node: NodeFacts) -> dict[str, str]:
    """What the platform sets, and what its toolkits would: no program may come to lean on them."""
    job_id, channels = node.job.path.name, node.run["channels"]
    region = os.environ.get("AWS_REGION", REGION)
    return {
        "TRAINING_JOB_NAME": job_id,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{job_id}",
        "AWS_REGION": region,
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_CURRENT_HOST": _host(node.rank),
        "SM_CHANNELS": json.dumps([*channels]),
        **{f"SM_CHANNEL_{channel.upper()}": f"/opt/ml/input/data/{channel}" for channel in channels},
        "LYFTLEARN_SUBSTRATE_PORT": str(node.port),
    }


def _host(rank: int) -> str:
    return f"algo-{rank + 1}"


def _platform(run: dict[str, Any], environment: dict[str, str], *arguments: str) -> None:
    """Do what may need boto3 and credentials in a process of its own."""
    command = [*run["platform"], *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().rpartition("\n")[2]
        raise CannotGoOn("platform", words or f"it ended with exit code {done.returncode}")
