"""Sessions of AWS Systems Manager into a training container, as its user guide and SageMaker's have them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import botocore.session
from botocore.validate import validate_parameters

from .faults import Refused
from .operations import REGION

if TYPE_CHECKING:
    from . import Service

_MEMBERS = {"--target": "Target", "--document-name": "DocumentName", "--parameters": "Parameters"}


def forwarded_port(service: Service, command: str) -> int:
    """Return the port of this machine to which `aws ssm start-session` makes a container's port, or raise Refused.

    Containers here share this machine's ports, so nothing has to be forwarded when both have one number.
    """
    program, *options = shlex.split(command)[2:]
    assert (shlex.split(command)[:2], program) == (["aws", "ssm"], "start-session")
    values = dict(zip(options[::2], options[1::2], strict=True))
    assert values.pop("--region") == REGION
    given = {_MEMBERS[name]: value for name, value in values.items()}
    request = {**given, "Parameters": json.loads(given["Parameters"])}
    shape = botocore.session.get_session().get_service_model("ssm").operation_model("StartSession").input_shape
    assert shape
    validate_parameters(request, shape)
    _check_target(service, given["Target"])
    assert given["DocumentName"] == "AWS-StartPortForwardingSession"
    ports = request["Parameters"]
    assert ports["portNumber"] == ports["localPortNumber"]
    return int(ports["localPortNumber"][0])


def _check_target(service: Service, target: str) -> None:
    kind, _, container = target.partition(":")
    name, _, host = container.rpartition("_")
    job = service.jobs.find(name)
    described = job.described() if job and (kind, host) == ("sagemaker-training-job", "algo-1") else {}
    is_enabled = described.get("RemoteDebugConfig", {}).get("EnableRemoteDebug")
    if not is_enabled or described.get("EnableNetworkIsolation") or described["SecondaryStatus"] != "Training":
        raise Refused("TargetNotConnected", f"{target} is not connected.")
