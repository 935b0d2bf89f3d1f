"""What AWS refuses by rules that its documentation states in prose, and no pattern of the service model does.

Each rule says where it is written. `ResourceConfig.VolumeKmsKeyId` is a member in botocore's service model of
SageMaker, whose documentation a test looks the rule up in; anything else is a page of AWS's documentation.

Not listed, because a request of ours cannot break it: what concerns members that we never send, and uniqueness of the
job's name, which the create itself settles. Not followed: "each key and value is limited to 256 characters" of
HyperParameters, where the model's own limit for values is 2500. Not known to a plan: whether buckets are in the region
of the job (`lyftlearn doctor` looks), and whether a role may use a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lyftlearn.backend import Fault
from lyftlearn_sagemaker.submission.instances import instance_types
from lyftlearn_sagemaker.submission.regions import (
    is_directory_bucket,
    partition_of_arn,
    partition_of_region,
    region_of_arn,
)

Request = Mapping[str, Any]
LONGEST_RUN = 28 * 86400
LARGEST_VOLUME = 16 << 10
_LOCAL_FAMILIES = ("ml.p6e-",)
"""Families with disks of their own whose types the table does not describe: https://aws.amazon.com/ec2/instance-types/p6/"""


@dataclass(frozen=True)
class Rule:
    """source: where it is written. words: some of those that it is written with there. faults: who breaks it."""

    source: str
    words: tuple[str, ...]
    faults: Callable[[Request, str | None], Iterator[Fault]]


def faults(request: Request, region: str | None) -> Iterator[Fault]:
    """Yield the path of each member of a CreateTrainingJob request that breaks a rule, and what is wrong."""
    for rule in RULES:
        yield from rule.faults(request, region)


def has_local_storage(instance: str | None) -> bool:
    """Whether an instance type has disks of its own, which its hardware encrypts."""
    described = instance_types().get(instance or "")
    return described.local_disk > 0 if described else (instance or "").startswith(_LOCAL_FAMILIES)


def _volume_key(request: Request, _: str | None) -> Iterator[Fault]:
    resources = request["ResourceConfig"]
    if "VolumeKmsKeyId" in resources and has_local_storage(resources.get("InstanceType")):
        yield Fault(
            "ResourceConfig.VolumeKmsKeyId", f"cannot encrypt the disk of {resources['InstanceType']}, which is local"
        )


def _largest_volume(request: Request, _: str | None) -> Iterator[Fault]:
    size = request["ResourceConfig"]["VolumeSizeInGB"]
    if size > LARGEST_VOLUME and not has_local_storage(request["ResourceConfig"].get("InstanceType")):
        problem = f"is {size} GB, and no volume of EBS has more than {LARGEST_VOLUME}: ask for less"
        yield Fault("ResourceConfig.VolumeSizeInGB", problem)


def _longest_run(request: Request, _: str | None) -> Iterator[Fault]:
    if request["StoppingCondition"]["MaxRuntimeInSeconds"] > LONGEST_RUN:
        yield Fault(
            "StoppingCondition.MaxRuntimeInSeconds", "is longer than 28 days, after which SageMaker ends every job"
        )


def _longest_wait(request: Request, _: str | None) -> Iterator[Fault]:
    stopping = request["StoppingCondition"]
    if stopping.get("MaxWaitTimeInSeconds", stopping["MaxRuntimeInSeconds"]) < stopping["MaxRuntimeInSeconds"]:
        yield Fault("StoppingCondition.MaxWaitTimeInSeconds", "is shorter than the job may run")


def _output_key(request: Request, _: str | None) -> Iterator[Fault]:
    output = request["OutputDataConfig"]
    if "KmsKeyId" in output and is_directory_bucket(output["S3OutputPath"]):
        yield Fault(
            "OutputDataConfig.KmsKeyId",
            "cannot be used with S3 Express One Zone: write to another bucket",
        )


def _tag_keys(request: Request, _: str | None) -> Iterator[Fault]:
    keys = [tag["Key"] for tag in request.get("Tags", [])]
    counts = Counter(keys)
    for index, key in enumerate(keys):
        if counts[key] > 1:
            yield Fault(f"Tags[{index}].Key", f"is {key!r}, and so is another: keys of tags must differ")


def _reserved_tags(request: Request, _: str | None) -> Iterator[Fault]:
    for index, tag in enumerate(request.get("Tags", [])):
        if tag["Key"].lower().startswith("aws:"):
            yield Fault(f"Tags[{index}].Key", f"is {tag['Key']!r}: AWS keeps keys that begin with aws: for itself")


def _partitions(request: Request, region: str | None) -> Iterator[Fault]:
    for path, arn in _arns(request):
        if region and partition_of_arn(arn) not in (None, partition_of_region(region)):
            yield Fault(path, f"is {arn}, of another partition than {region}: {partition_of_region(region)}")


def _key_regions(request: Request, region: str | None) -> Iterator[Fault]:
    for path, arn in _arns(request):
        if ":kms:" in arn and region and region_of_arn(arn) not in (None, region):
            yield Fault(path, f"is {arn}, and jobs in {region} can only use keys of that region")


def _arns(request: Request) -> Iterator[tuple[str, str]]:
    values = {
        "RoleArn": request.get("RoleArn"),
        "OutputDataConfig.KmsKeyId": request["OutputDataConfig"].get("KmsKeyId"),
        "ResourceConfig.VolumeKmsKeyId": request["ResourceConfig"].get("VolumeKmsKeyId"),
        "ResourceConfig.TrainingPlanArn": request["ResourceConfig"].get("TrainingPlanArn"),
        "ResourceConfig.InstancePreferences": _plan_of_preferences(request),
    }
    return ((path, value) for path, value in values.items() if value and value.startswith("arn:"))


def _plan_of_preferences(request: Request) -> str | None:
    preferences = request["ResourceConfig"].get("InstancePreferences", [])
    return next((arn for one in preferences for arn in one.get("TrainingPlanArns", [])), None)


def _plan_regions(request: Request, region: str | None) -> Iterator[Fault]:
    for path, arn in _arns(request):
        if ":training-plan/" in arn and region and region_of_arn(arn) not in (None, region):
            yield Fault(path, f"is {arn}, and jobs in {region} can only use training plans of that region")


RULES = (
    Rule("ResourceConfig.VolumeKmsKeyId", ("can't request", "local storage"), _volume_key),
    Rule("Amazon EBS User Guide, Amazon EBS volume types: General Purpose SSD", ("16 TiB",), _largest_volume),
    Rule("StoppingCondition.MaxRuntimeInSeconds", ("maximum value is 28 days",), _longest_run),
    Rule("StoppingCondition.MaxWaitTimeInSeconds", ("equal to or greater than",), _longest_wait),
    Rule("OutputDataConfig.KmsKeyId", ("not supported for Amazon S3 Express One Zone",), _output_key),
    Rule("Tag.Key", ("must be unique",), _tag_keys),
    Rule("AWS Tagging Resources User Guide, Tag naming limits and requirements", ("aws:",), _reserved_tags),
    Rule("IAM User Guide, Amazon Resource Names (ARNs): partitions", ("aws-cn", "aws-us-gov"), _partitions),
    Rule("AWS KMS Developer Guide, AWS KMS keys: Regional resources", ("region",), _key_regions),
    Rule("SageMaker AI Developer Guide, Reserve training plans for your training jobs", ("Region",), _plan_regions),
)
