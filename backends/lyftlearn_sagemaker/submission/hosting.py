"""An endpoint that serves a model: the requests that make one. Nobody here sends them.

SageMaker starts the image with the argument `serve` and lets nobody name another entrypoint, so the image's own must be
the runtime, as that of the base images is. The container has 8 minutes for its first answer unless the endpoint's
configuration says otherwise, 60 seconds for each request, 2 seconds for a ping, and 30 seconds between SIGTERM and
SIGKILL (SageMaker's documentation, "Use Your Own Inference Code with Hosting Services"). Limits are botocore's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault, Request
from lyftlearn_sagemaker.submission.documented_rules import has_local_storage

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions

PORT = 8080
LONGEST_GRACE = 25
"""Seconds of grace: SageMaker itself kills 30 seconds after SIGTERM."""
SUBSTRATE = "sagemaker-serving"
_LONGEST_NAME, _LONGEST_VALUE = 63, 1024
_LONGEST_START = 3600
_SERVER = "-server"


def requests(
    spec: JobSpec, options: JobOptions, *, image: str | None, instance: str | None, bundle_uri: str, region: str | None
) -> Iterator[Request]:
    """Yield what makes the endpoint: its model, its configuration, and the endpoint itself."""
    tags = [{"Key": key, "Value": value} for key, value in options.tags.items()]
    endpoint = endpoint_name(spec.name)
    yield _request(
        "CreateModel",
        ModelName=spec.id,
        ExecutionRoleArn=options.role,
        PrimaryContainer={"Image": image, "Environment": _environment(bundle_uri, region)},
        VpcConfig={"Subnets": list(options.vpc_subnets), "SecurityGroupIds": list(options.vpc_security_groups)}
        if options.vpc_subnets
        else None,
        Tags=tags,
    )
    variant = {
        "VariantName": "all",
        "ModelName": spec.id,
        "InstanceType": instance,
        "InitialInstanceCount": 1,
        "ContainerStartupHealthCheckTimeoutInSeconds": _LONGEST_START,
    }
    key = None if has_local_storage(instance) else options.keys_volume
    yield _request(
        "CreateEndpointConfig", EndpointConfigName=spec.id, ProductionVariants=[variant], KmsKeyId=key, Tags=tags
    )
    yield _request("CreateEndpoint", EndpointName=endpoint, EndpointConfigName=spec.id, Tags=tags)


def endpoint_name(model: str) -> str:
    """Return what the endpoint of a model is called: always the same, so that a new model replaces the old one."""
    slug = re.sub(r"[^a-zA-Z0-9]+", "-", model)[: _LONGEST_NAME - len(_SERVER)].strip("-")
    return f"{slug or 'model'}{_SERVER}"


def faults(backend: str, spec: JobSpec, options: JobOptions, bundle_uri: str) -> Iterator[Fault]:
    """Yield what stands against an endpoint and not against a job."""
    if options.network_isolation:
        problem = "keeps the server from its bundle, its model and its source, which the runtime fetches: switch it off"
        yield Fault(f"{backend}.network_isolation", f"{problem} for {spec.name}")
    if spec.serving and spec.serving.port != PORT:
        yield Fault("port", f"is {spec.serving.port}: SageMaker asks port {PORT} alone")
    if len(bundle_uri) > _LONGEST_VALUE:
        yield Fault(
            "storage.url", f"is too long: the bundle's URI has {len(bundle_uri)} characters of {_LONGEST_VALUE}"
        )


def notes(spec: JobSpec, bundle_uri: str) -> Iterator[str]:
    """Yield what a person must do or know."""
    yield f"the bundle must be at {bundle_uri} before the model is created: put what `s3:PutObject` names there"
    yield "the image's entrypoint must be the runtime, as the base images' is: SageMaker starts it with `serve`"
    yield "SageMaker asks /ping itself; a model that fails its self-test ends its container, so no endpoint comes of it"
    yield f"an endpoint that is there takes the new model by UpdateEndpoint: {endpoint_name(spec.name)}"


def _environment(bundle_uri: str, region: str | None) -> dict[str, str]:
    own = {"LYFTLEARN_SUBSTRATE": SUBSTRATE, "LYFTLEARN_BUNDLE": bundle_uri}
    return own | ({"AWS_DEFAULT_REGION": region} if region else {})


def _request(operation: str, **body: Any) -> Request:
    return Request(operation=f"sagemaker:{operation}", body={name: value for name, value in body.items() if value})
