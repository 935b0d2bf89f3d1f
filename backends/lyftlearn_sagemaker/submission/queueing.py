"""From a CreateTrainingJob to an AWS Batch service job that sends it when the queue lets it.

Limits and the words of status reasons: AWS Batch API Reference, SubmitServiceJob, and AWS Batch User Guide, "Service
job retry strategies". The guide writes a space before SageMaker's words, and the constants of the `sagemaker` SDK none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lyftlearn.types import JobKind
from lyftlearn_sagemaker.record import FROM_SAGEMAKER

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions

SUBMIT = "batch:SubmitServiceJob"
TYPE = "SAGEMAKER_TRAINING"
_MOST_ATTEMPTS = 10
_SLACK = 600  # seconds in which SageMaker's own limit ends an attempt before Batch's does
_REPEATED = (" InternalServerError*", "InternalServerError*", " ResourceLimitExceeded*", "ResourceLimitExceeded*")
"""What is nobody's fault: SageMaker's own trouble, and a quota of the account that other jobs use up."""


def goes_by_queue(spec: JobSpec, options: JobOptions) -> bool:
    """Whether a job waits in a queue of Batch."""
    return options.queue is not None and spec.kind is JobKind.TRAIN


def submit_request(spec: JobSpec, options: JobOptions, create: Mapping[str, Any]) -> dict[str, Any]:
    """Return the SubmitServiceJob for a job. Batch repeats what the platform broke, and nothing else does."""
    payload = {name: value for name, value in create.items() if name != "RetryStrategy"}
    optional = {
        "shareIdentifier": options.share,
        "quotaShareName": options.quota_share,
        "schedulingPriority": options.priority,
    }
    return {
        "jobName": spec.id,
        "jobQueue": options.queue,
        "serviceJobType": TYPE,
        "serviceRequestPayload": json.dumps(payload),
        "retryStrategy": {
            "attempts": min(_MOST_ATTEMPTS, 1 + options.infrastructure_retries),
            "evaluateOnExit": [
                *({"action": "RETRY", "onStatusReason": f"{FROM_SAGEMAKER}{words}"} for words in _REPEATED),
                {"action": "EXIT", "onStatusReason": "*"},
            ],
        },
        "timeoutConfig": {"attemptDurationSeconds": sum(create["StoppingCondition"].values()) + _SLACK},
        "tags": {tag["Key"]: tag["Value"] for tag in create["Tags"]},
        "clientToken": sha256(f"{spec.id} {spec.digest}".encode()).hexdigest(),
        **{name: value for name, value in optional.items() if value is not None},
    }
