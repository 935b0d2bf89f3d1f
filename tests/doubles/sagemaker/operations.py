"""The operations on training jobs."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .faults import Refused
from .jobs import ENDS, Job, Jobs
from .resources import check_resources, count_of, types_of
from .validation import check

if TYPE_CHECKING:
    from . import Conduct

_DUPLICATE = (
    "Training job names must be unique within an AWS account and region, and a training job with this name already "
    "exists ({})"
)
_NO_ROLE = (
    "Could not assume role {}. Please ensure that the role exists and allows principal 'sagemaker.amazonaws.com' to "
    "assume the role."
)
_QUOTA = (
    "The account-level service limit '{} for training job usage' is {} Instances, with current utilization of {} "
    "Instances and a request delta of {} Instances. Please use AWS Service Quotas to request an increase for this "
    "quota."
)
_LARGEST_VOLUME = 16 << 10  # GiB: Amazon EBS User Guide, Amazon EBS volume types
ACCOUNT, REGION = "123456789012", "us-east-1"


class Operations:
    """Serves requests."""

    def __init__(self, jobs: Jobs, conduct: Conduct) -> None:
        self._jobs = jobs
        self._conduct = conduct
        self._lock = threading.Lock()
        self._lists: list[float] = []

    def serve(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or raise Refused."""
        method: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, f"_{operation}", None)
        if method is None:
            raise Refused("UnknownOperationException", operation)
        check(operation, request)
        return method(request)

    def _CreateTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = request["TrainingJobName"]
        check_resources(request)
        if "InstancePreferences" in request["ResourceConfig"] and not self._conduct.lists_of_types:
            raise Refused("ValidationException", "InstancePreferences is not available for this account")
        self._check_meaning(request)
        self._check_prose(request)
        self._check_channels(request)
        with self._lock:
            if self._jobs.find(name):
                raise Refused("ResourceInUse", _DUPLICATE.format(_arn(name)))
            self._check_quota(request["ResourceConfig"])
            self._jobs.start(request, _arn(name))
        return {"TrainingJobArn": _arn(name)}

    def _DescribeTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._job(request).described()

    def _StopTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self._job(request)
        stopping = job.status == "Stopping" and not self._conduct.stops_twice
        if stopping or not job.stop():
            raise Refused(
                "ValidationException", f"The request was rejected because the training job is in status {job.status}."
            )
        return {}

    def _DeleteTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self._job(request)
        if job.status not in ENDS:
            raise Refused("ResourceInUse", f"the training job is in status {job.status}")
        self._jobs.remove(job)
        return {}

    def _ListTrainingJobs(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_rate()
        after = request.get("CreationTimeAfter", 0)
        ordered = [job for job in self._ordered(request, default="Ascending") if job.created > after]
        page, token = _page(ordered, request, 10)
        kept = [job.summary() for job in page if _selected(job, request)]
        return {"TrainingJobSummaries": kept, **token}

    def _Search(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = [job for job in self._ordered(request, "Descending") if _fits(job, request.get("SearchExpression", {}))]
        page, token = _page(found, request, 10)
        return {"Results": [{"TrainingJob": {**job.described(), "Tags": job.tags}} for job in page], **token}

    def _ListTags(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Tags": self._tagged(request).tags}

    def _AddTags(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self._tagged(request)
        both = {tag["Key"]: tag["Value"] for tag in [*job.tags, *request["Tags"]]}
        if len(both) > 50:
            raise Refused("ResourceLimitExceeded", "Too many tags")
        job.tags[:] = [{"Key": key, "Value": value} for key, value in both.items()]
        return {"Tags": job.tags}

    def _job(self, request: dict[str, Any]) -> Job:
        job = self._jobs.find(request["TrainingJobName"])
        if job is None:
            raise Refused("ValidationException", "Requested resource not found.")
        return job

    def _tagged(self, request: dict[str, Any]) -> Job:
        return self._job({"TrainingJobName": request["ResourceArn"].rpartition("/")[2]})

    def _check_meaning(self, request: dict[str, Any]) -> None:
        stopping = request.get("StoppingCondition", {})
        spot = request.get("EnableManagedSpotTraining", False)
        if self._conduct.roles is not None and request["RoleArn"] not in self._conduct.roles:
            raise Refused(
                "ValidationException",
                _NO_ROLE.format(request["RoleArn"]),
            )
        if spot and stopping.get("MaxWaitTimeInSeconds", 0) < stopping.get("MaxRuntimeInSeconds", 86400):
            raise Refused(
                "ValidationException",
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
            )
        if not spot and "MaxWaitTimeInSeconds" in stopping:
            raise Refused("ValidationException", "MaxWaitTimeInSeconds above 0 is not supported for non-spot training")
        if spot and request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
            raise Refused("ValidationException", "KeepAlivePeriodInSeconds is not supported with managed spot training")
        if stopping.get("MaxRuntimeInSeconds", 0) > 28 * 86400:
            raise Refused(
                "ResourceLimitExceeded",
                "The account-level service limit 'Longest run time for a training job' is 2419200 Seconds",
            )

    def _check_channels(self, request: dict[str, Any]) -> None:
        """A channel has one source, and a file system is only reached from a VPC."""
        sources = [channel["DataSource"] for channel in request.get("InputDataConfig", [])]
        if any(len(source) != 1 for source in sources):
            raise Refused("ValidationException", "Exactly one data source must be specified for each channel")
        if any("FileSystemDataSource" in source for source in sources) and "VpcConfig" not in request:
            raise Refused("ValidationException", "VpcConfig must be specified when a file system data source is used")

    def _check_prose(self, request: dict[str, Any]) -> None:
        """Refuse what only the prose of AWS's documentation forbids."""
        kinds, output = types_of(request["ResourceConfig"]), request["OutputDataConfig"]
        keys = [tag["Key"] for tag in request.get("Tags", [])]
        if request["ResourceConfig"].get("VolumeSizeInGB", 0) > _LARGEST_VOLUME and not all(map(_has_disks, kinds)):
            raise Refused("ValidationException", f"VolumeSizeInGB must be at most {_LARGEST_VOLUME}")
        for kind in kinds:
            if "VolumeKmsKeyId" in request["ResourceConfig"] and _has_disks(kind):
                raise Refused("ValidationException", f"VolumeKmsKeyId is not supported for instance type {kind}")
        if "KmsKeyId" in output and output["S3OutputPath"].removeprefix("s3://").partition("/")[0].endswith("--x-s3"):
            raise Refused("ValidationException", "KMS key is not supported for Amazon S3 Express One Zone")
        if any(key.lower().startswith("aws:") for key in keys):
            raise Refused("ValidationException", "aws: prefixed tag key names are not allowed for external use.")
        if len(set(keys)) < len(keys):
            raise Refused("ValidationException", "Duplicate tag keys")

    def _check_quota(self, resources: dict[str, Any]) -> None:
        """The quota of every type that a job may get must cover it."""
        wanted = count_of(resources)
        for kind in types_of(resources):
            quota = self._conduct.quotas.get(kind)
            used = sum(count_of(job.request["ResourceConfig"]) for job in self._jobs.all() if job.uses(kind))
            if quota is not None and used + wanted > quota:
                raise Refused("ResourceLimitExceeded", _QUOTA.format(kind, quota, used, wanted))

    def _check_rate(self) -> None:
        allowed = self._conduct.lists_per_second
        if allowed is not None:
            now = time.monotonic()
            self._lists = [at for at in self._lists if at > now - 1] + [now]
            if len(self._lists) > allowed:
                raise Refused("ThrottlingException", "Rate exceeded")

    def _ordered(self, request: dict[str, Any], default: str) -> list[Job]:
        descending = request.get("SortOrder", default) == "Descending"
        return sorted(self._jobs.all(), key=lambda job: (job.created, job.name), reverse=descending)


@cache
def _has_disks(kind: str) -> bool:
    """Whether EC2 says that an instance type has disks of its own."""
    path = files("moto") / "ec2/resources/instance_types.json.gz"
    described = json.loads(gzip.decompress(path.read_bytes()))
    known = described.get(kind.removeprefix("ml."))
    return kind.startswith("ml.p6e-") if known is None else "InstanceStorageInfo" in known


def _arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"


def _page(jobs: list[Job], request: dict[str, Any], default: int) -> tuple[list[Job], dict[str, str]]:
    start, size = int(request.get("NextToken", 0)), request.get("MaxResults", default)
    token = {"NextToken": str(start + size)} if start + size < len(jobs) else {}
    return jobs[start : start + size], token


def _selected(job: Job, request: dict[str, Any]) -> bool:
    """Conditions of a list that are applied to a page that was already cut."""
    summary = job.summary()
    return all(
        (
            request.get("NameContains", "") in job.name,
            request.get("StatusEquals") in (None, job.status),
            summary["LastModifiedTime"] > request.get("LastModifiedTimeAfter", 0),
        )
    )


def _fits(job: Job, expression: dict[str, Any]) -> bool:
    results = [_filter_fits(job, one) for one in expression.get("Filters", [])]
    results += [_fits(job, one) for one in expression.get("SubExpressions", [])]
    return any(results) if expression.get("Operator") == "Or" else all(results)


def _filter_fits(job: Job, condition: dict[str, Any]) -> bool:
    name, operator, wanted = condition["Name"], condition.get("Operator", "Equals"), condition.get("Value")
    tags = {tag["Key"]: tag["Value"] for tag in job.tags}
    seen: Any = tags.get(name.removeprefix("Tags.")) if name.startswith("Tags.") else job.described().get(name)
    if operator in ("Exists", "NotExists"):
        return bool((seen is not None) == (operator == "Exists"))
    if seen is None or wanted is None:
        return False
    return _compare(operator, seen, wanted)


def _compare(operator: str, seen: Any, wanted: str) -> bool:
    from datetime import UTC, datetime

    if isinstance(seen, float):
        try:
            at = datetime.strptime(wanted, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Refused("ValidationException", f"{wanted} is no YYYY-mm-dd'T'HH:MM:SS") from None
        return bool({"GreaterThanOrEqualTo": seen >= at, "LessThan": seen < at}[operator])
    if operator == "In":
        return str(seen) in wanted.split(",")
    return bool({"Equals": seen == wanted, "Contains": wanted in seen, "NotEquals": seen != wanted}[operator])
