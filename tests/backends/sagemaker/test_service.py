"""The test service itself: a double that accepted what AWS refuses would prove nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lyftlearn import Client
from lyftlearn.backend import JobSpec, LogQuery
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker.conftest import IMAGE, ROLE, Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service

GOOD: dict[str, Any] = {
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/x"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def _refused(operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        getattr(boto3.client("sagemaker"), operation)(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TrainingJobName": "-x"}, "regular expression pattern"),
        ({"TrainingJobName": "x" * 64}, "length less than or equal to 63"),
        ({"Environment": {"A": "x" * 513}}, "Map value must satisfy"),
        ({"Environment": {f"A{number}": "" for number in range(101)}}, "less than or equal to 100"),
        ({"HyperParameters": {"a": "x" * 2501}}, "Map value must satisfy"),
        ({"Tags": [{"Key": "a", "Value": "{}"}]}, "regular expression pattern"),
        ({"ResourceConfig": {**GOOD["ResourceConfig"], "InstanceType": "ml.x"}}, "enum value set"),
        (
            {"ResourceConfig": {**GOOD["ResourceConfig"], "KeepAlivePeriodInSeconds": 21601}},
            "less than or equal to 21600",
        ),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ],
)
def test_it_refuses_what_aws_refuses(service: Service, change: dict[str, Any], said: str) -> None:
    """Botocore lets all of these pass; the value is quoted in the error, as AWS does it."""
    request = {"TrainingJobName": "good", **GOOD, **change}
    code, message = _refused("create_training_job", **request)
    assert code == "ValidationException"
    assert said in message


def test_duplicates_and_stops_of_the_finished(service: Service) -> None:
    """Both are errors of their own kind, and what is missing is a validation error."""
    service.conduct.containers = False
    client = boto3.client("sagemaker")
    name = f"job-{time.monotonic_ns()}"
    client.create_training_job(TrainingJobName=name, **GOOD)
    assert _refused("create_training_job", TrainingJobName=name, **GOOD)[0] == "ResourceInUse"
    assert _refused("delete_training_job", TrainingJobName=name)[0] == "ResourceInUse"
    client.stop_training_job(TrainingJobName=name)
    waited = time.monotonic() + 30
    while client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] != "Stopped":
        assert time.monotonic() < waited
        time.sleep(0.05)
    assert _refused("stop_training_job", TrainingJobName=name)[0] == "ValidationException"
    client.delete_training_job(TrainingJobName=name)
    assert _refused("describe_training_job", TrainingJobName=name) == (
        "ValidationException",
        "Requested resource not found.",
    )


def test_tags(service: Service) -> None:
    """They can be listed and added to."""
    service.conduct.containers = False
    client = boto3.client("sagemaker")
    name = f"job-{time.monotonic_ns()}"
    arn = client.create_training_job(TrainingJobName=name, Tags=[{"Key": "a", "Value": "1"}], **GOOD)["TrainingJobArn"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]


def test_lists_are_limited(service: Service) -> None:
    """Two a second for an account."""
    service.conduct.lists_per_second = 2
    client = boto3.client(
        "sagemaker", config=__import__("botocore.config").config.Config(retries={"total_max_attempts": 1})
    )
    client.list_training_jobs()
    client.list_training_jobs()
    with pytest.raises(ClientError, match="ThrottlingException"):
        client.list_training_jobs()


def test_its_containers_are_like_sagemakers(service: Service, make: Make, storage_url: str, tmp_path: Path) -> None:
    """What the platform gives is there, and what this machine has beside it is not."""
    code = """
import json, os, sys
print(sorted(os.listdir("/opt/ml")), os.path.exists("/opt/ml/input/config/resourceconfig.json"))
print(os.uname().nodename, os.getpid() < 10, os.environ.get("TRAINING_JOB_NAME"))
print(os.path.exists(sys.argv[1]))
"""
    backend = make()
    job = spec(storage_url, kind=JobKind.PROCESS, command=("python3", "-c", code, str(tmp_path)))
    backend.submit(backend.plan(job))
    lines = [line.text for line in backend.logs(job.id, LogQuery(follow=True))]
    assert lines == [
        "['checkpoints', 'input', 'lyftlearn', 'model', 'output'] True",
        "algo-1 True None",
        "False",
    ], "TRAINING_JOB_NAME is there, and the runtime hides it from the command"


def test_inputs_are_true_directories(service: Service, make: Make, storage_url: str) -> None:
    """Programs walk through their inputs: channels and what was fetched look the same, with nothing beside."""
    bucket, _, prefix = storage_url.removeprefix("s3://").partition("/")
    for name in ("rides/part.csv", "rides/year=2026/part.csv", "one.csv"):
        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=name.encode())
    code = """
import glob, os, pathlib
top = os.environ["LYFTLEARN_INPUTS_DIR"]
walked = [os.path.relpath(os.path.join(place, name), top) for place, _, names in os.walk(top) for name in names]
print(sorted(walked))
print(sorted(str(path.relative_to(top)) for path in pathlib.Path(top).rglob("*.csv")))
links = [name for name in os.listdir(top) if os.path.islink(f"{top}/{name}")]
print(len(glob.glob(top + "/rides/**/*.csv", recursive=True)), links)
"""
    inputs = {"rides": f"{storage_url}/rides/", "one": f"{storage_url}/one.csv"}
    backend = make()
    job = spec(storage_url, kind=JobKind.PROCESS, command=("python3", "-c", code), inputs=inputs)
    backend.submit(backend.plan(job))
    files = "['one/one.csv', 'rides/part.csv', 'rides/year=2026/part.csv']"
    lines = [line.text for line in backend.logs(job.id, LogQuery(follow=True))]
    assert lines == [files, files, "2 []"]


def test_spot_with_checkpoints(service: Service, make: Make, storage_url: str) -> None:
    """The machine is taken away; the next one finds the checkpoints, and the job succeeds."""
    code = """
import os, pathlib, time
kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"]) / "epoch"
if kept.exists():
    print("resumed at", kept.read_text())
else:
    kept.write_text("7")
    print("saved", flush=True)
    time.sleep(600)
"""
    backend = make(spot=True)
    job = spec(storage_url, kind=JobKind.PROCESS, command=("python3", "-c", code))
    backend.submit(backend.plan(job))
    lines = backend.logs(job.id, LogQuery(follow=True))
    assert next(lines).text == "saved"
    found = service.jobs.find(job.id)
    assert found
    found.break_off("Interrupted")
    assert [line.text for line in lines] == ["resumed at 7"]
    event = backend.describe(job.id).event
    assert (event.status, event.incarnation) == ("succeeded", 1)


def test_secrets_and_a_user_of_ones_own(service: Service, make: Make, storage_url: str) -> None:
    """A secret goes from Secrets Manager to the command, which runs as the configured user, and nowhere else."""
    name = f"db-{time.monotonic_ns()}"
    boto3.client("secretsmanager").create_secret(Name=name, SecretString='{"DB_PASSWORD": "hunter2-secret"}')
    code = """
import os
print(os.getuid(), os.getgid(), len(os.environ["DB_PASSWORD"]))
raise SystemExit(os.environ["DB_PASSWORD"])
"""
    backend = make(user={"uid": 1234, "gid": 1234})
    job = spec(storage_url, command=("python3", "-c", code), secrets=(name,))
    plan = backend.plan(job)
    assert "hunter2" not in repr(plan)
    backend.submit(plan)
    assert next(backend.logs(job.id, LogQuery(follow=True))).text == "1234 1234 14"
    list(backend.logs(job.id, LogQuery(follow=True)))
    assert backend.describe(job.id).event.message.endswith("\n[secret]")


def test_infrastructure_is_repeated(service: Service, make: Make, storage_url: str) -> None:
    """What SageMaker itself broke is run again, once by default; then the platform is to blame."""
    service.conduct.containers = False
    backend = make()
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    found = service.jobs.find(job.id)
    assert found
    for incarnation in (1, 1):
        _until_training(found)
        found.break_off("Restarting")
        _until_gone(found)
        assert backend.describe(job.id).event.incarnation == incarnation
    assert backend.describe(job.id).event.reason == "platform"


def test_a_machine_that_is_replaced(service: Service, make: Make, storage_url: str) -> None:
    """The next one brings back the checkpoints, and the time of the first start: the timeout does not start again."""
    backend = make()
    script = "cd /lyftlearn/checkpoints; ls -A; test -e a || { touch a; sleep 600; }"
    job = spec(storage_url, kind=JobKind.PROCESS, command=("sh", "-c", script))
    backend.submit(backend.plan(job))
    found = service.jobs.find(job.id)
    assert found
    home = service.jobs._directory / job.id / "algo-1" / "checkpoints"
    _until(lambda: (home / "files" / "a").exists() and (home / "started").exists())
    first = (home / "started").read_text()
    found.break_off("Restarting")
    assert [line.text for line in backend.logs(job.id, LogQuery(follow=True))] == ["a"]
    assert backend.describe(job.id).event.status is JobStatus.SUCCEEDED
    bucket, _, prefix = storage_url.removeprefix("s3://").partition("/")
    kept = boto3.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/jobs/{job.id}/checkpoints/started")
    assert kept["Body"].read().decode() == first


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _until_training(job: Any) -> None:
    deadline = time.monotonic() + 30
    while job.described()["SecondaryStatus"] != "Training":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _until_gone(job: Any) -> None:
    deadline = time.monotonic() + 30
    while job._restart is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _run(backend: SageMakerBackend, job: JobSpec) -> JobStatus:
    backend.submit(backend.plan(job))
    list(backend.logs(job.id, LogQuery(follow=True)))
    return backend.describe(job.id).event.status


def test_a_job_that_left_nothing_is_the_next_ones_input(service: Service, storage_url: str, tmp_path: Path) -> None:
    """SageMaker makes no archive of nothing; to the next job it is an empty directory, as on every platform."""
    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "log_settle": "1s"}
    config = {"backend": "sagemaker", "home": str(tmp_path / "home"), "storage": {"url": storage_url}}
    client = Client(config={**config, "sagemaker": table})
    train = client.train("eta", command=["true"])
    process = client.process("eta", command=["true"], outputs=["one", "two"])
    for job in (train, process):
        job.wait(timeout="2m")
    look = "import os; print([os.listdir(f'/lyftlearn/{name}') for name in ('inputs/one', 'inputs/two', 'model')])"
    inputs = {name: process.outputs[name] for name in ("one", "two")}
    last = client.predict("eta", artifact=train, command=["python3", "-c", look], inputs=inputs)
    last.wait(timeout="2m")
    assert "[[], [], []]" in list(last.logs())


def test_a_job_that_failed_leaves_nothing_to_the_next(service: Service, make: Make, storage_url: str) -> None:
    """An archive that is not there because its job failed is no empty directory: the next job says what is missing."""
    backend = make()
    first = spec(storage_url, command=("false",))
    assert _run(backend, first) is JobStatus.FAILED
    second = spec(storage_url, command=("true",), inputs={"one": f"{first.output_uri}/output.tar.gz#output"})
    assert _run(backend, second) is JobStatus.FAILED
    event = backend.describe(second.id).event
    assert (event.reason, "inputs.one" in event.message) == (FailureReason.CONFIGURATION, True)


def test_an_image_without_python(service: Service, make: Make, storage_url: str) -> None:
    """The command never ran, so its exit code is nobody's fault but the image's: the same reason as elsewhere."""
    backend = make(python="no-such-python")
    job = spec(storage_url)
    assert _run(backend, job) is JobStatus.FAILED
    event = backend.describe(job.id).event
    assert (event.reason, event.exit_code) == (FailureReason.IMAGE, None)
    assert "no-such-python" in event.message


LIST = {"InstancePreferences": [{"InstanceType": "ml.g5.xlarge"}, {"InstanceType": "ml.g5.2xlarge"}]}


@pytest.mark.parametrize(
    ("resources", "more", "said"),
    [
        ({**LIST, "InstanceType": "ml.g5.xlarge", "InstanceCount": 1}, {}, "together with InstanceType"),
        ({"InstanceCount": 1}, {}, "one of InstanceType"),
        (LIST, {}, "InstanceCount must be set either"),
        ({"InstancePreferences": LIST["InstancePreferences"] * 2, "InstanceCount": 1}, {}, "only once"),
        ({"InstancePreferences": LIST["InstancePreferences"] * 3, "InstanceCount": 1}, {}, "less than or equal to 5"),
        ({**LIST, "InstanceCount": 1, "SelectedInstanceType": "ml.g5.xlarge"}, {}, "read-only"),
        (
            {**LIST, "InstanceCount": 1},
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
            },
            "EnableManagedSpotTraining",
        ),
    ],
)
def test_it_refuses_lists_of_instance_types_as_aws_does(
    service: Service, resources: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    """The documentation of ResourceConfig and InstancePreference says these in prose alone."""
    request = {"TrainingJobName": "good", **GOOD, "ResourceConfig": resources, **more}
    assert said in _refused("create_training_job", **request)[1]
