"""The documented permissions are those that are used."""

from __future__ import annotations

from lyftlearn_sagemaker.api.permissions import JOB_ACTIONS
from tests.backends.sagemaker import policy


def test_the_document_has_the_generated_policy() -> None:
    """A policy that was written by hand is too wide, or breaks with the next call that somebody adds."""
    text = policy.DOCUMENT.read_text()
    assert policy.BEGIN in text
    assert policy.documented(text) == text, "run tests/backends/sagemaker/policy.py"


def test_the_policy_is_minimal() -> None:
    """Nothing is deleted but messages, and passing the role is bound to SageMaker."""
    statements = {one["Sid"]: one for one in policy.policy(policy.known())["Statement"]}
    actions = [action for one in statements.values() for action in one["Action"]]
    assert [action for action in actions if "Delete" in action] == ["sqs:DeleteMessage"]
    assert not any(action.endswith("*") for action in actions)
    assert statements["Role"]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    verbs = [action.removeprefix("sagemaker:") for action in statements["Jobs"]["Action"]]
    assert verbs == ["AddTags", "CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob"]


def test_jobs_may_do_what_their_runtime_does() -> None:
    """Every call of the runtime's to S3, so the end of an upload that failed too, is in the role's actions."""
    needed = policy.actions_of_runtime()
    assert "s3:AbortMultipartUpload" in needed
    assert needed - {"s3:DeleteObject"} <= set(JOB_ACTIONS), "see api/permissions.py"
