"""From what is wrong with a request to what is wrong with a job, in the user's own fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault
from lyftlearn_sagemaker import record
from lyftlearn_sagemaker.submission.channels import BUNDLE, RUNTIME

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions

_INDEX = re.compile(r"(InputDataConfig|Tags)\[(\d+)\]")
_FIELDS = (
    ("TrainingJobName", "id"),
    ("RoleArn", "{backend}.role"),
    ("AlgorithmSpecification.TrainingImage", "image"),
    ("AlgorithmSpecification.ContainerEntrypoint", "{backend}.python"),
    ("OutputDataConfig.KmsKeyId", "{backend}.keys.output"),
    ("OutputDataConfig", "jobs.output"),
    ("ResourceConfig.InstanceType", "resources"),
    ("ResourceConfig.InstancePreferences", "{backend}.instances.choices"),
    ("ResourceConfig.TrainingPlanArn", "{backend}.training_plan"),
    ("ResourceConfig.InstanceCount", "nodes"),
    ("ResourceConfig.VolumeSizeInGB", "resources.disk"),
    ("ResourceConfig.VolumeKmsKeyId", "{backend}.keys.volume"),
    ("ResourceConfig.KeepAlivePeriodInSeconds", "{backend}.keep_alive"),
    ("StoppingCondition.MaxPendingTimeInSeconds", "{backend}.pending"),
    ("StoppingCondition", "timeout"),
    ("VpcConfig.Subnets", "{backend}.vpc.subnets"),
    ("VpcConfig", "{backend}.vpc.security_groups"),
    ("RetryStrategy", "{backend}.infrastructure_retries"),
    ("CheckpointConfig", "jobs.output"),
    ("HyperParameters", "hyperparameters"),
    ("InputDataConfig", "inputs"),
)
"""Where a member of the request comes from; the first prefix that fits."""
_MOST_VARIABLES = 100  # of Environment; a test holds it against the model


@dataclass(frozen=True)
class FaultTranslator:
    """Translates the faults of one request."""

    backend: str
    spec: JobSpec
    options: JobOptions
    storage_url: str
    body: Mapping[str, Any]

    def translate(self, faults: Iterable[Fault]) -> Iterator[Fault]:
        """Yield each fault that has not been reported in better words: of images, places and counts."""
        yield from self._counts()
        for path, problem in faults:
            if path in ("Tags", "Environment") or self._is_reported(path):
                continue
            yield Fault(self._field(path), problem)

    def _counts(self) -> Iterator[Fault]:
        """Yield what is wrong where many things of the user's share one limit of the API."""
        free = record.MOST_TAGS - record.OWN_TAGS - len(self.options.tags)
        if free < 0:
            most = record.MOST_TAGS - record.OWN_TAGS
            yield Fault(f"{self.backend}.tags", f"are {len(self.options.tags)}, and SageMaker takes {most}: give fewer")
        elif len(self.spec.labels) > free:
            yield Fault(
                "labels", f"are {len(self.spec.labels)}, of which SageMaker's tags can carry {free}: give fewer"
            )
        variables = len(self.body["Environment"])
        if variables > _MOST_VARIABLES:
            most, field = max((count, field) for field, count in record.variables_by_field(self.spec).items())
            kept = f"of the {_MOST_VARIABLES} variables that SageMaker keeps with a job, and the whole job {variables}"
            yield Fault(field, f"take {most} {kept}: give fewer, or shorter ones")

    def _is_reported(self, path: str) -> bool:
        """Whether the plan says in better words what is wrong: no image, or a place that is not in S3."""
        if path.startswith(("OutputDataConfig.S3OutputPath", "CheckpointConfig.S3Uri")):
            return not self.body["OutputDataConfig"]["S3OutputPath"].startswith("s3://")
        if path.startswith("InputDataConfig"):
            return not self._channel_uri(path).startswith("s3://")
        no_image = "TrainingImage" not in self.body["AlgorithmSpecification"]
        no_instance = "InstanceType" not in self.body["ResourceConfig"]
        return (no_image and path == "AlgorithmSpecification.TrainingImage") or (
            no_instance and path == "ResourceConfig.InstanceType"
        )

    def _field(self, path: str) -> str:
        match = _INDEX.match(path)
        if match and match[1] == "Tags":
            return self._field_of_tag(self.body["Tags"][int(match[2])]["Key"])
        if match:
            return self._field_of_channel(self.body["InputDataConfig"][int(match[2])]["ChannelName"])
        field = next((field for prefix, field in _FIELDS if path.startswith(prefix)), self.backend)
        return field.format(backend=self.backend)

    def _field_of_tag(self, key: str) -> str:
        return f"{self.backend}.tags" if key in self.options.tags else "labels"

    def _field_of_channel(self, channel: str) -> str:
        if channel.startswith(record.MOUNT_CHANNEL):
            return "mounts"
        ours = channel in (BUNDLE, RUNTIME) or (channel == record.SOURCE and self._source_is_stored())
        return "storage.url" if ours else record.field_of(channel)

    def _source_is_stored(self) -> bool:
        return self.spec.source is not None and self.spec.source.uri.startswith(f"{self.storage_url}/")

    def _channel_uri(self, path: str) -> str:
        match = _INDEX.match(path)
        if match is None:
            return "s3://"
        source = self.body["InputDataConfig"][int(match[2])]["DataSource"].get("S3DataSource", {})
        uri: str = source.get("S3Uri", "s3://")
        return uri
