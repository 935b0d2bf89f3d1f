"""What doctor says: pass, fail with the remedy, or unknown."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from lyftlearn.backend import BackendSettings, Check, SparkSpec, Verdict
from lyftlearn_sagemaker import create
from lyftlearn_sagemaker.api.permissions import JOB_ACTIONS, NOTEBOOK_ACTIONS
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker import policy
from tests.backends.sagemaker.conftest import Make, NewSettings
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import DENIED

NAMES = [
    "configuration", "identity", "sagemaker", "role", "role's permissions", "searches", "bucket", "image", "quotas",
    "warm pools", "VPC endpoints", "metrics gateway", "events queue", "job queues",
]  # fmt: skip


def _checks(backend: SageMakerBackend) -> dict[str, Check]:
    found = list(backend.diagnose())
    assert [check.name for check in found] == [f"sagemaker: {name}" for name in NAMES]
    return {check.name.removeprefix("sagemaker: "): check for check in found}


def _role(name: str, service: str) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }
    arn: str = boto3.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    return arn


def _queue(name: str, policy: Any) -> str:
    attributes: Any = {"Policy": json.dumps(policy)} if policy else {}
    url: str = boto3.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def test_a_place_that_is_set_up(service: Service, make: Make) -> None:
    """What is there is seen: the role and whom it trusts, the bucket, the image, the queue and its policy."""
    boto3.client("ecr").create_repository(repositoryName="lyftlearn/base")
    boto3.client("ecr").put_image(repositoryName="lyftlearn/base", imageTag="1", imageManifest=_manifest())
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": "*",
            }
        ],
    }
    backend = make(
        role=_role("good", "sagemaker.amazonaws.com"),
        instances={"pin": "ml.m5.large"},
        vpc={"subnets": [_subnet()], "security_groups": ["sg-1"]},
        events=_queue("good", policy),
        metrics="localhost:8125",
    )
    checks = _checks(backend)
    for name in (
        "configuration",
        "identity",
        "sagemaker",
        "role",
        "bucket",
        "image",
        "metrics gateway",
        "events queue",
    ):
        assert checks[name].verdict is Verdict.OK, checks[name]
    assert "no endpoint for s3" in checks["VPC endpoints"].detail
    assert "secretsmanager" in checks["VPC endpoints"].detail


def _subnet() -> str:
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet: str = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    return subnet


def _manifest() -> str:
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": 32,
        "digest": f"sha256:{'a' * 64}",
    }
    return json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {**layer, "mediaType": "application/vnd.docker.container.image.v1+json"}, "layers": [layer],
    })  # fmt: skip


def test_what_is_wrong_has_a_remedy(service: Service, make: Make) -> None:
    """Each failure says what to do about it."""
    backend = make(
        role=_role("distrustful", "ec2.amazonaws.com"),
        events=_queue("closed", None),
        image="ubuntu",
        instances={"pin": 3},
    )
    checks = _checks(backend)
    for name, remedy in {
        "configuration": "write a text",
        "role": "add it to the role's trust policy",
        "image": "push the image to ECR",
        "events queue": "docs/how-to/sagemaker.md",
    }.items():
        assert checks[name].verdict is Verdict.FAILED, checks[name]
        assert remedy in checks[name].detail


def test_what_may_not_be_asked_is_unknown(service: Service, make: Make) -> None:
    """A person without rights must not be told that something is wrong."""
    service.faults.add("ListTrainingJobs", DENIED)
    check = _checks(make())["sagemaker"]
    assert check.verdict is Verdict.WARNING
    assert check.detail.startswith("unknown: ")


def test_what_is_not_there_is_a_failure(service: Service, make: Make) -> None:
    """A role, an image or a queue that does not exist would fail every job."""
    backend = make(
        role="arn:aws:iam::123456789012:role/not-there",
        image="123456789012.dkr.ecr.us-east-1.amazonaws.com/not/there:1",
        events=f"{boto3.client('sqs').meta.endpoint_url}/123456789012/not-there",
    )
    checks = _checks(backend)
    for name in ("role", "image", "events queue"):
        assert checks[name].verdict is Verdict.FAILED, checks[name]
        assert "is not there" in checks[name].detail


class Quotas:
    """Service Quotas, which moto knows only a few of: two pages."""

    def __init__(self, **values: float) -> None:
        self.meta = boto3.client("service-quotas").meta
        self._pages = [{"Quotas": [{"QuotaName": name, "Value": value}]} for name, value in values.items()]

    def list_service_quotas(self, **request: Any) -> Any:
        number = int(request.get("NextToken", 0))
        more = {"NextToken": str(number + 1)} if number + 1 < len(self._pages) else {}
        return {**self._pages[number], **more}


USAGE, WARM = "ml.m5.large for training job usage", "ml.m5.large for training warm pool usage"
SPOT = "ml.c7i.large for spot training job usage"


@pytest.mark.parametrize(
    ("quotas", "verdict", "said"),
    [
        ({USAGE: 4.0, WARM: 2.0, SPOT: 1.0}, Verdict.OK, f"4 x {USAGE}, 2 x {WARM}"),
        ({USAGE: 4.0, SPOT: 1.0}, Verdict.FAILED, f"{WARM}: the quota is 0"),
        ({USAGE: 4.0, WARM: 2.0}, Verdict.FAILED, f"{SPOT}: the quota is 0"),
    ],
)
def test_quotas_of_what_is_in_use(  # noqa: PLR0917 - fixtures
    service: Service, make: Make, storage_url: str, quotas: Any, verdict: Verdict, said: str
) -> None:
    """A warm pool without quota is silently none; what the last jobs ran on counts, whatever is pinned."""
    service.conduct.containers = False
    spotty = make(spot=True)
    spotty.submit(spotty.plan(spec(storage_url)))
    backend = make(instances={"pin": "ml.m5.large"}, keep_alive="10m")
    backend.aws._clients["service-quotas"] = Quotas(**quotas)
    check = _checks(backend)["quotas"]
    assert check.verdict is verdict
    assert said in check.detail


@pytest.mark.parametrize("name", NAMES)
def test_nothing_configured_breaks_no_check(service: Service, make: Make, name: str) -> None:
    """The first thing that a newcomer runs, before anything is set up."""
    check = _checks(make(role=None, image=None))[name]
    assert check.detail


def test_without_credentials_nothing_more_is_asked(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Each question would wait for the metadata service of a machine that has none, and nobody waits for eleven."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        host, port = silent.getsockname()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{host}:{port}")
        before = len(service.requests)
        found = _checks(make())
        silent.setblocking(False)
        connections = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                connections += 1
    assert found["identity"].verdict is Verdict.FAILED
    assert "AWS credentials" in found["identity"].detail
    rest = [check for name, check in found.items() if name not in ("configuration", "identity", "metrics gateway")]
    assert {check.verdict for check in rest} == {Verdict.WARNING}
    assert all("see identity" in check.detail for check in rest)
    assert 0 < connections <= 3
    assert len(service.requests) == before


def _grant(role: str, *statements: Any) -> str:
    """Give a role its own policy, and return it."""
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    boto3.client("iam").put_role_policy(RoleName=role.rpartition("/")[2], PolicyName="own", PolicyDocument=document)
    return role


def _allow(*actions: str, resource: str = "*", **more: Any) -> Any:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def test_a_role_that_lets_nobody_into_notebooks(service: Service, make: Make) -> None:
    """Jobs run with it, so it is no failure; but whoever opens a notebook would wait for nothing."""
    channels = [action for action in NOTEBOOK_ACTIONS if "DataChannel" not in action]
    role = _grant(_role("shut", "sagemaker.amazonaws.com"), _allow(*JOB_ACTIONS, *channels))
    check = _checks(make(role=role))["role's permissions"]
    assert check.verdict is Verdict.OK
    assert "may not ssmmessages:CreateDataChannel, ssmmessages:OpenDataChannel" in check.detail


def test_a_role_without_its_files(service: Service, make: Make) -> None:
    """A role whose policy names another bucket, or denies what it allows, would fail every job at its start."""
    elsewhere = _allow(*JOB_ACTIONS, resource="arn:aws:s3:::another/*")
    denied = {"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}
    role = _grant(
        _role("elsewhere", "sagemaker.amazonaws.com"), elsewhere, _allow("logs:*", "ecr:*", "cloudwatch:*"), denied
    )
    check = _checks(make(role=role))["role's permissions"]
    assert check.verdict is Verdict.FAILED
    assert "may not s3:ListBucket, s3:GetObject, s3:PutObject" in check.detail
    assert "ecr:BatchGetImage: allow it" in check.detail
    assert "logs:" not in check.detail


def _documented(job_role: str) -> list[Any]:
    """What the documentation's policy gives to a driver, whose trials have `job_role`."""
    statements = {one["Sid"]: one for one in policy.policy(policy.known())["Statement"] if one["Sid"] != "DoctorOnly"}
    text = json.dumps(list(statements.values())).replace("JOB_ROLE_ARN", job_role).replace("ACCOUNT", "123456789012")
    return list(json.loads(text))


def test_the_documented_policy_lets_a_role_drive_searches(service: Service, make: Make) -> None:
    """The page names the permissions of a driver's role; doctor's own list must ask for no more, and for no less."""
    jobs = _role("of-jobs", "sagemaker.amazonaws.com")
    as_a_job = _allow(*JOB_ACTIONS)
    driver = _grant(_role("of-drivers", "sagemaker.amazonaws.com"), as_a_job, *_documented(jobs))
    check = _checks(make(role=jobs, tune={"role": driver}))["searches"]
    assert check == Check("sagemaker: searches", Verdict.OK, f"{driver} may submit their trials")
    for one in _documented(jobs):
        if one["Sid"] in ("Jobs", "Lists", "Role", "Logs"):
            _grant(driver, as_a_job, *(other for other in _documented(jobs) if other != one))
            check = _checks(make(role=jobs, tune={"role": driver}))["searches"]
            assert check.verdict is Verdict.FAILED, one["Sid"]
            assert one["Action"][-1] in check.detail


def test_a_role_of_jobs_that_drives_no_search(service: Service, make: Make) -> None:
    """Nobody has asked for searches, so it is no failure; passing a role to anything but SageMaker is not enough."""
    role = _role("plain", "sagemaker.amazonaws.com")
    passing = _allow("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
    check = _checks(make(role=_grant(role, _allow(*JOB_ACTIONS, "sagemaker:*", "logs:*"), passing)))["searches"]
    assert check.verdict is Verdict.WARNING
    assert check.detail.startswith(f"none can be driven: {role} may not iam:PassRole: ")


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"IpProtocol": "tcp", "FromPort": 7000, "ToPort": 8000}, Verdict.OK),
        ({"IpProtocol": "-1"}, Verdict.OK),
        ({"IpProtocol": "tcp", "FromPort": 7078, "ToPort": 7078}, Verdict.FAILED),
        ({"IpProtocol": "udp", "FromPort": 7000, "ToPort": 8000}, Verdict.FAILED),
        (None, Verdict.FAILED),
    ],
)
def test_executors_of_spark_come_through_to_drivers(
    service: Service, new_settings: NewSettings, rule: dict[str, Any] | None, verdict: Verdict
) -> None:
    """A security group that keeps them out is found before a job waits for them; the ports are named."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName=f"g-{rule}"[:200], Description="g", VpcId=vpc)["GroupId"]
    if rule:
        allowed: Any = {**rule, "IpRanges": [{"CidrIp": "10.1.0.0/16"}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[allowed])
    settings = new_settings(vpc={"subnets": [_subnet()], "security_groups": [group]})
    spark = SparkSpec(on_kubernetes=True, server="https://cluster.example:6443", credentials="cluster")
    check = _spark(replace(settings, spark=spark))
    assert check.verdict is verdict, check
    assert "7078-7109 from executors' pods to drivers" in check.detail


def test_drivers_of_spark_need_a_vpc(service: Service, new_settings: NewSettings) -> None:
    """Nobody reaches a job that is in none."""
    spark = SparkSpec(on_kubernetes=True, server="https://cluster.example:6443", credentials="cluster")
    check = _spark(replace(new_settings(), spark=spark))
    assert check.verdict is Verdict.FAILED
    assert "TCP 7078-7109 from executors' pods to drivers is closed" in check.detail
    assert "[spark] server" in _spark(replace(new_settings(), spark=SparkSpec(on_kubernetes=True))).detail


def _spark(settings: BackendSettings) -> Check:
    return next(check for check in create(settings).diagnose() if check.name == "sagemaker: spark")
