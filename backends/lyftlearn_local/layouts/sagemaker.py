"""What a SageMaker training container is given: `/opt/ml`, its variables, root. And what becomes of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from lyftlearn_local.layouts.layout import ContainerLayout, LaunchError, NodeContext, host_names, hosts
from lyftlearn_local.layouts.patience import await_end

REGION = "us-east-1"
ACCOUNT = "000000000000"
BUNDLE_CHANNEL = "lyftlearn"
_CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}


def training(context: NodeContext) -> ContainerLayout:
    """The layout of one instance of a training job."""
    ml = context.directory / "ml"
    layout = ContainerLayout(ml / "output" / "failure")
    layout.reports_success = False
    layout.user = None if os.geteuid() == 0 else (0, 0)
    layout.hostname = _host(context.rank)
    layout.bind(ml, "/opt/ml")
    layout.bind(context.directory / "lyftlearn", "/lyftlearn")
    for name in ("input/config", f"input/data/{BUNDLE_CHANNEL}", "model", "output/data", "checkpoints"):
        (ml / name).mkdir(parents=True)
    shutil.copyfile(context.bundle, ml / "input" / "data" / BUNDLE_CHANNEL / "bundle.json")
    for channel, uri in context.run["channels"].items():
        _fill(channel, uri, ml / "input" / "data" / channel, context)
    _write_configuration(context, ml / "input" / "config")
    _write_hosts(context, layout)
    layout.variables |= _variables(context)
    return layout


def pack(context: NodeContext) -> None:
    """Keep the model and the outputs as the platform does after success; raises LaunchError and LaunchStopped."""
    _platform(context, "pack", str(context.directory / "ml"), context.run["output_uri"], *context.run["packs"])


def _fill(channel: str, uri: str, directory: Path, context: NodeContext) -> None:
    try:
        _platform(context, "fetch", uri, str(directory))
    except LaunchError as error:
        raise LaunchError("configuration", f"inputs.{channel}: {error}") from error


def _write_configuration(context: NodeContext, config: Path) -> None:
    names = [_host(rank) for rank in range(context.count)]
    instances = [{"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": names}]
    resources = {
        "current_host": _host(context.rank),
        "current_instance_type": "local",
        "current_group_name": "homogeneousCluster",
        "hosts": names,
        "instance_groups": instances,
        "network_interface_name": "lo",
    }
    channels = dict.fromkeys((BUNDLE_CHANNEL, *context.run["channels"]), _CHANNEL)
    for name, content in (("hyperparameters", {}), ("resourceconfig", resources), ("inputdataconfig", channels)):
        (config / f"{name}.json").write_text(json.dumps(content))


def _write_hosts(context: NodeContext, layout: ContainerLayout) -> None:
    """The instances know each other by name; here all are this machine."""
    entries = "".join(f"{address} {_host(rank)}\n" for rank, address in enumerate(hosts(context.count)))
    file = context.directory / "hosts"
    file.write_text(host_names() + f"\n{entries}")
    layout.binds.append((str(file), "/etc/hosts"))


def _variables(context: NodeContext) -> dict[str, str]:
    """What the platform sets, and what its toolkits would: no program may come to lean on them."""
    job_id, channels = context.job.path.name, context.run["channels"]
    region = os.environ.get("AWS_REGION", REGION)
    return {
        "TRAINING_JOB_NAME": job_id,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{job_id}",
        "AWS_REGION": region,
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_CURRENT_HOST": _host(context.rank),
        "SM_CHANNELS": json.dumps([*channels]),
        **{f"SM_CHANNEL_{channel.upper()}": f"/opt/ml/input/data/{channel}" for channel in channels},
        "LYFTLEARN_SUBSTRATE_PORT": str(context.port),
    }


def _host(rank: int) -> str:
    return f"algo-{rank + 1}"


def _platform(context: NodeContext, *arguments: str) -> None:
    """Do what may need boto3 and credentials in a process of its own, which a stop ends."""
    code, errors = await_end([*context.run["platform"], *arguments], context.environment, context.is_ending)
    if code:
        last_line = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise LaunchError("platform", last_line or f"it ended with exit code {code}")
