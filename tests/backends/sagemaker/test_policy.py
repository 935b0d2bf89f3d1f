"""The documented permissions are those that are used."""

from __future__ import annotations

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
