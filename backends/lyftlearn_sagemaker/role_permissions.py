"""What `doctor` asks IAM of the roles that jobs have: its simulation of their policies, which changes nothing.

A resource must be named as one is: `*` in a simulation is no resource that a policy for some would allow.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lyftlearn_sagemaker.api.permissions import (
    DRIVER_JOB_ACTIONS,
    DRIVER_LIST_ACTIONS,
    DRIVER_LOG_ACTIONS,
    DRIVER_ROLE_ACTIONS,
    JOB_ACTIONS,
    NOTEBOOK_ACTIONS,
)
from lyftlearn_sagemaker.submission.regions import partition_of_region

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

SERVICE = "sagemaker.amazonaws.com"
_OBJECT_ACTIONS = tuple(action for action in JOB_ACTIONS if action.startswith("s3:") and action != "s3:ListBucket")
_OTHER_ACTIONS = tuple(action for action in JOB_ACTIONS if not action.startswith("s3:"))
_PASSED_TO = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string", "ContextKeyValues": [SERVICE]}
_NAME = "lyftlearn-doctor"  # of a job that is not there


class RolePermissions:
    """Which of the actions that are needed a role's policies do not allow. What cannot be asked raises AwsError."""

    def __init__(self, aws: AwsClient, storage_url: str) -> None:
        self._aws = aws
        self._bucket, _, self._prefix = storage_url.removeprefix("s3://").partition("/")

    def denied_to_jobs(self, role: str) -> list[str]:
        """Return what keeps jobs with a role from their files, logs and images."""
        bucket = f"arn:{self._partition}:s3:::{self._bucket}"
        denied = self._denials(role, ("s3:ListBucket",), bucket)
        denied += self._denials(role, _OBJECT_ACTIONS, f"{bucket}/{self._prefix}/*")
        return denied + self._denials(role, _OTHER_ACTIONS, "*")

    def denied_to_notebooks(self, role: str) -> list[str]:
        """Return what keeps everybody out of notebooks with a role."""
        return self._denials(role, NOTEBOOK_ACTIONS, "*")

    def denied_to_drivers(self, role: str, trial_role: str) -> list[str]:
        """Return what keeps the driver of a search from its files, and from trials that have `trial_role`."""
        here = f"{self._aws.region}:{role.split(':')[4]}"
        denied = self.denied_to_jobs(role)
        denied += self._denials(
            role, DRIVER_JOB_ACTIONS, f"arn:{self._partition}:sagemaker:{here}:training-job/{_NAME}"
        )
        denied += self._denials(role, DRIVER_LIST_ACTIONS, "*")
        stream = f"arn:{self._partition}:logs:{here}:log-group:/aws/sagemaker/TrainingJobs:log-stream:{_NAME}"
        denied += self._denials(role, DRIVER_LOG_ACTIONS, stream)
        denied += self._denials(role, DRIVER_ROLE_ACTIONS, trial_role, [_PASSED_TO])
        return list(dict.fromkeys(denied))

    @property
    def _partition(self) -> str:
        return partition_of_region(self._aws.region)

    def _denials(self, role: str, actions: Sequence[str], resource: str, context: Sequence[Any] = ()) -> list[str]:
        request = {"PolicySourceArn": role, "ActionNames": list(actions), "ResourceArns": [resource]}
        request |= {"ContextEntries": list(context)} if context else {}
        results = self._aws.call("iam", "simulate_principal_policy", request)["EvaluationResults"]
        return [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]
