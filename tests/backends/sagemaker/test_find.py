"""Finding jobs through Search, among everybody's."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest

from lyftlearn.backend import JobQuery
from lyftlearn.errors import InvalidJob, JobNotFound
from lyftlearn_sagemaker.status import finder
from tests.backends.sagemaker.conftest import ROLE, Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import BROKEN_AFTER, LOST_AFTER, REFUSALS, Fault, Refused


@pytest.fixture(autouse=True)
def without_containers(service: Service) -> None:
    service.conduct.containers = False


def _foreign(name: str) -> None:
    boto3.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": "x", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://b/x"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def test_other_peoples_jobs(make: Make, storage_url: str, tmp_path: object) -> None:
    """The account is shared: what is not ours is neither listed, nor described, nor stopped."""
    name = f"foreign-{abs(hash(storage_url))}"
    _foreign(name)
    backend = make()
    assert name not in [record.id for record in backend.list(JobQuery())]
    with pytest.raises(JobNotFound):
        backend.describe(name)
    with pytest.raises(JobNotFound):
        backend.stop(name)
    assert boto3.client("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress"


def test_labels_of_any_length(make: Make, storage_url: str) -> None:
    """A label may be longer than a tag's key; it is found all the same."""
    label = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.example/{'d' * 63}"
    backend = make()
    job = spec(storage_url, labels={label: "x", "empty": ""})
    backend.submit(backend.plan(job))
    assert [record.id for record in backend.list(JobQuery(labels={label: "x", "empty": ""}))] == [job.id]
    assert list(backend.list(JobQuery(labels={label: "y"}))) == []
    assert backend.describe(job.id).labels == job.labels


def test_the_console(make: Make) -> None:
    """A person who wants to see what SageMaker itself says finds the job there."""
    url = make(region="eu-west-1").link("eta-tsaaaaaaaaaaa")
    assert url == "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/eta-tsaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-iso-east-1", None),
    ],
)
def test_the_console_of_other_partitions(make: Make, region: str, host: str | None) -> None:
    """GovCloud and China have consoles of their own; a link that leads nowhere is none."""
    link = make(region=region).link("eta-tsaaaaaaaaaaa")
    assert link == (f"https://{host}/sagemaker/home?region={region}#/jobs/eta-tsaaaaaaaaaaa" if host else None)


def test_pages(make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are fetched as they are asked for, newest first."""
    monkeypatch.setattr(finder, "_PAGE", 3)
    backend = make()
    name = f"pages-{abs(hash(storage_url))}"
    ids = [backend.submit(backend.plan(spec(storage_url, name=name))).id for _ in range(8)]
    assert [record.id for record in backend.list(JobQuery(name=name))] == ids[::-1]


def test_long_texts_are_kept_whole(make: Make, storage_url: str) -> None:
    """A variable of SageMaker holds 512 characters; a Decision and labels may have more."""
    backend = make()
    job = spec(storage_url, decision="é" * 1500, labels={f"label-{number}": "v" * 60 for number in range(30)})
    backend.submit(backend.plan(job))
    found = make().describe(job.id)
    assert (found.decision, found.labels) == (job.decision, job.labels)


def test_since_before_there_was_anything(service: Service, make: Make, storage_url: str) -> None:
    """Search takes a year of four digits only."""
    backend = make()
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    found = make().list(JobQuery(name=job.name, since=datetime(1, 1, 1, tzinfo=UTC)))
    assert job.id in [record.id for record in found]


@pytest.mark.parametrize("fault", [None, LOST_AFTER, BROKEN_AFTER], ids=["once", "lost", "broken"])
def test_stopping_what_is_stopping(service: Service, make: Make, storage_url: str, fault: Fault | None) -> None:
    """A stop that is repeated, by a person or after an answer that was lost, changes nothing and is no error."""
    service.conduct.containers = False
    backend = make()
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    running = service.jobs.find(job.id)
    assert running
    service.conduct.scarce = {"ml.m5.large"}
    if fault:
        service.faults.add("StopTrainingJob", fault)
    backend.stop(job.id)
    running.status = "Stopping"
    backend.stop(job.id)
    running.status = "InProgress"
    running.finish()
    backend.stop(job.id)
    assert service.count("StopTrainingJob") == 1 + bool(fault)


@pytest.mark.parametrize("said", ["denied", "conflict", "quota", "serialization"])
def test_a_stop_whose_repetition_is_refused(service: Service, make: Make, storage_url: str, said: str) -> None:
    """The first request has stopped the job, though its answer was lost: what is said to the second changes nothing."""
    backend = make()
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    service.faults.add("StopTrainingJob", LOST_AFTER)
    service.faults.add("StopTrainingJob", Fault(REFUSALS[said], before=True))
    backend.stop(job.id)


def test_a_stop_that_nobody_answers(service: Service, make: Make, storage_url: str) -> None:
    """The job stops all the same, so the stop has succeeded."""
    backend = make()
    backend.aws.retry_budget.unanswered = 0
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    service.faults.add("StopTrainingJob", LOST_AFTER)
    backend.stop(job.id)


def test_a_stop_that_is_refused_for_another_reason(service: Service, make: Make, storage_url: str) -> None:
    """A job that goes on although it was to be stopped must not be reported as stopped."""
    backend = make()
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    service.faults.add("StopTrainingJob", Fault(Refused("ValidationException", "not now"), before=True))
    with pytest.raises(InvalidJob, match="not now"):
        backend.stop(job.id)
