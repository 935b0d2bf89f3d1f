"""The body of CreateTrainingJob for a job."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lyftlearn.types import JobKind
from lyftlearn_sagemaker import record
from lyftlearn_sagemaker.log_text import ATTEMPT_LINE, MARK, PROGRESS_VARIABLE
from lyftlearn_sagemaker.submission import notebooks
from lyftlearn_sagemaker.submission.channels import RUNTIME_FILE
from lyftlearn_sagemaker.submission.documented_rules import LONGEST_RUN, has_local_storage
from lyftlearn_sagemaker.submission.instances import GB, is_accelerated
from lyftlearn_sagemaker.submission.queueing import goes_by_queue

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions
    from lyftlearn_sagemaker.submission.channels import InputChannels

LONGEST_GRACE = 110
"""Seconds of grace: SageMaker itself kills 120 seconds after SIGTERM, and outputs are not lost to a second's race."""
_ENDPOINTS = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
"""Which endpoints of AWS whoever submits must use; the job must, too."""
_PREPARATION = 3600  # seconds beyond the job's own timeout before SageMaker's backstop
_MOST_SHOWN, _LONGEST_KEY, _LONGEST_VALUE = 100, 256, 2500  # of HyperParameters; a test holds them against the model


def create_request(
    spec: JobSpec,
    options: JobOptions,
    *,
    image: str | None,
    instances: Sequence[str],
    channels: InputChannels,
    output_path: str,
    checkpoints: str | None,
    region: str | None,
) -> dict[str, Any]:
    """Return the request; what is None or empty is left out."""
    body = {
        "TrainingJobName": spec.id,
        "RoleArn": (options.tune_role if spec.kind is JobKind.TUNE else None) or options.role,
        "AlgorithmSpecification": _algorithm(spec, options, image),
        "HyperParameters": shown_hyperparameters(spec),
        "InputDataConfig": channels.config,
        "OutputDataConfig": {"S3OutputPath": output_path, **_without_none(KmsKeyId=options.keys_output)},
        "ResourceConfig": _resources(spec, options, instances),
        "StoppingCondition": _stopping(spec, options, instances),
        "Environment": _environment(spec, region) | (record.of_queue(spec) if goes_by_queue(spec, options) else {}),
        "Tags": [{"Key": key, "Value": value} for key, value in {**options.tags, **record.tags(spec)}.items()],
        "VpcConfig": _vpc(options),
        "CheckpointConfig": _without_none(S3Uri=checkpoints),
        "RetryStrategy": {"MaximumRetryAttempts": options.infrastructure_retries}
        if options.infrastructure_retries
        else None,
        "EnableNetworkIsolation": options.network_isolation or None,
        "EnableInterContainerTrafficEncryption": options.encrypt_traffic or None,
        "EnableManagedSpotTraining": options.spot or None,
        "RemoteDebugConfig": notebooks.PORT_FORWARDING if spec.notebook else None,
    }
    return {name: value for name, value in body.items() if value}


def shown_hyperparameters(spec: JobSpec) -> dict[str, str]:
    """Return what fits of the hyperparameters, as JSON, for the console; the job reads all of them from its bundle."""
    every = json.loads(spec.hyperparameters)
    texts = {key: json.dumps(value) for key, value in every.items()}
    fitting = {
        key: text
        for key, text in texts.items()
        if len(key) <= _LONGEST_KEY and len(text) <= _LONGEST_VALUE and key.isprintable()
    }
    return dict(list(fitting.items())[:_MOST_SHOWN])


def checkpoints_uri(spec: JobSpec, options: JobOptions, storage_url: str) -> str | None:
    """Return where the job's checkpoints are kept, None if nowhere.

    They are kept where that is asked for, and where another machine may take one's place. A notebook's are its files.
    """
    if spec.notebook:
        return notebooks.files_uri(spec.notebook, storage_url)
    may_move = options.spot or options.infrastructure_retries > 0 or options.training_plan is not None
    return f"{spec.output_uri.removesuffix('/output')}/checkpoints" if options.checkpoints or may_move else None


def _algorithm(spec: JobSpec, options: JobOptions, image: str | None) -> dict[str, Any]:
    algorithm: dict[str, Any] = {
        **_without_none(TrainingImage=image),
        "TrainingInputMode": "File",
        "ContainerEntrypoint": [options.python, "-I", RUNTIME_FILE, "run"],
    }
    if spec.retries:
        algorithm["MetricDefinitions"] = [{"Name": record.ATTEMPT_METRIC, "Regex": ATTEMPT_LINE}]
    return algorithm


def _environment(spec: JobSpec, region: str | None) -> dict[str, str]:
    """Return the job's record, and the region, which boto3 does not find in the variable that SageMaker sets.

    The runtime marks its own lines in the log: each further start of the command, and the end.
    """
    endpoints = {name: os.environ[name] for name in _ENDPOINTS if os.environ.get(name)}
    return record.environment(spec) | {PROGRESS_VARIABLE: MARK} | endpoints | _without_none(AWS_DEFAULT_REGION=region)


def _resources(spec: JobSpec, options: JobOptions, instances: Sequence[str]) -> dict[str, Any]:
    first = next(iter(instances), None)
    return {
        **_machines(options, instances),
        **_without_none(VolumeKmsKeyId=_volume_key(options, first)),
        "InstanceCount": spec.nodes,
        "VolumeSizeInGB": max(1, math.ceil(spec.resources.disk / GB)),
        **({"KeepAlivePeriodInSeconds": options.keep_alive} if options.keep_alive else {}),
    }


def _machines(options: JobOptions, instances: Sequence[str]) -> dict[str, Any]:
    """Return one instance type, or several in order. A plan's capacity is of one type: the first."""
    if len(instances) > 1:
        preferences: list[dict[str, Any]] = [{"InstanceType": name} for name in instances]
        if options.training_plan:
            preferences[0]["TrainingPlanArns"] = [options.training_plan]
        return {"InstancePreferences": preferences}
    return _without_none(InstanceType=next(iter(instances), None), TrainingPlanArn=options.training_plan)


def _volume_key(options: JobOptions, instance: str | None) -> str | None:
    """Return the key of the volume; a disk of the instance's own takes none, and is encrypted all the same."""
    return None if has_local_storage(instance) else options.keys_volume


def _stopping(spec: JobSpec, options: JobOptions, instances: Sequence[str]) -> dict[str, int]:
    backstop = math.ceil((spec.timeout + spec.grace).total_seconds()) + _PREPARATION
    longest = min(backstop, LONGEST_RUN)
    waiting = {"MaxWaitTimeInSeconds": longest + options.spot_wait} if options.spot else {}
    if not options.spot and any(map(is_accelerated, instances)):
        waiting = {"MaxPendingTimeInSeconds": options.pending}
    return {"MaxRuntimeInSeconds": longest, **waiting}


def _vpc(options: JobOptions) -> dict[str, Any] | None:
    if not options.vpc_subnets:
        return None
    return {"Subnets": list(options.vpc_subnets), "SecurityGroupIds": list(options.vpc_security_groups)}


def _without_none(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}
