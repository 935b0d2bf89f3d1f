"""deploy/terraform: its policies follow from code, doctor is content with what it makes, and its files parse."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from lyftlearn.backend import Verdict
from tests.backends.sagemaker import policy
from tests.backends.sagemaker.conftest import BUCKET, Make
from tests.doubles.sagemaker import Service

MODULE = policy.TEMPLATES.parent
PAGE = policy.DOCUMENT.read_text(encoding="utf-8")


def test_the_policies_are_those_that_the_code_asks_for() -> None:
    """They are written from the calls that the tests saw and from the lists that doctor compares with."""
    for name, text in policy.templates().items():
        assert (policy.TEMPLATES / name).read_text() == text, "run python -m tests.backends.sagemaker.policy"


def rendered(name: str, **values: str) -> str:
    """Return a policy as `templatefile` makes it. A value that nobody gives is an error there, too."""
    text = (policy.TEMPLATES / name).read_text(encoding="utf-8")
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


def test_doctor_is_content_with_what_terraform_makes(service: Service, make: Make) -> None:
    """The role, its policies, the queue and its policy, made as written, in an account where nothing else is."""
    iam, sqs = boto3.client("iam"), boto3.client("sqs")
    trust = rendered("trust.json")
    role = iam.create_role(RoleName="lyftlearn-jobs", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for name in ("jobs", "notebooks"):
        document = rendered(f"{name}.json", bucket=BUCKET)
        iam.put_role_policy(RoleName="lyftlearn-jobs", PolicyName=name, PolicyDocument=document)
    arn = "arn:aws:sqs:us-east-1:123456789012:lyftlearn-jobs"
    allowed = rendered(
        "queue.json", queue_arn=arn, rule_arn="arn:aws:events:us-east-1:123456789012:rule/lyftlearn-jobs"
    )
    queue = sqs.create_queue(QueueName="lyftlearn-jobs", Attributes={"Policy": allowed})["QueueUrl"]
    checks = {check.name.removeprefix("sagemaker: "): check for check in make(role=role, events=queue).diagnose()}
    for name in ("role", "role's permissions", "events queue"):
        assert checks[name].verdict is Verdict.OK, checks[name]
    rule = rendered("event-pattern.json")
    assert boto3.client("events").put_rule(Name="lyftlearn-jobs", EventPattern=rule)["RuleArn"]


def as_json(path: Path) -> dict[str, list[dict[str, object]]]:
    """Return what a reader of Terraform's language finds in a file."""
    command = [str(Path(sys.executable).parent / "hcl2tojson"), "-q", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    found: dict[str, list[dict[str, object]]] = json.loads(ran.stdout)
    return found


def test_the_modules_files_are_terraform() -> None:
    """They parse, every variable and policy that they name is there, and every policy's values are given."""
    parsed = {path.name: as_json(path) for path in MODULE.glob("*.tf")}
    text = "".join(path.read_text(encoding="utf-8") for path in MODULE.glob("*.tf"))
    declared = {name.strip('"') for block in parsed["variables.tf"]["variable"] for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    files = set(re.findall(r"policies/([\w.-]+)", text))
    assert files == {path.name for path in policy.TEMPLATES.iterdir()}
    values = set(re.findall(r"^    (\w+) +=", text.partition("values = {")[2].partition("}")[0], re.MULTILINE))
    policies = "".join((policy.TEMPLATES / file).read_text(encoding="utf-8") for file in files)
    assert set(re.findall(r"\$\{(\w+)\}", policies)) == values
    assert json.dumps(json.loads(rendered("event-pattern.json"))) in PAGE


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_would_write_them_alike(tmp_path: Path) -> None:
    """Terraform's own formatter has nothing to change. To validate them it would load a provider from the network."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
    command = ["terraform", "fmt", "-check", "-recursive", "-diff", str(MODULE)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
