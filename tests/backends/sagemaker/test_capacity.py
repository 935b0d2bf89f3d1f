"""Capacity: lists of instance types, the limit on waiting, and reserved capacity that ends."""

from __future__ import annotations

import logging
import re
import time
from datetime import timedelta
from typing import Any

import boto3
import pytest

from lyftlearn.backend import JobSpec, LogQuery, words
from lyftlearn.errors import QuotaExceeded
from lyftlearn.runtime import capacity
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_sagemaker import doctor
from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.job_options import _LONGEST_PENDING, _MOST_CHOICES, _SHORTEST_PENDING
from lyftlearn_sagemaker.options import read_table
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import resources, spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.validation import model

GPU = resources(1, 2, gpu=1, gpu_type="A10G")
PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/eta-nightly"
FIRST = ["ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.4xlarge"]


def _create(backend: SageMakerBackend, job: JobSpec) -> Any:
    plan = backend.plan(job)
    assert plan.faults == ()
    return plan.requests[-1].body


def _wait(backend: SageMakerBackend, job: JobSpec) -> Any:
    for _ in range(1200):
        event = backend.describe(job.id).event
        if event.status.finished:
            return event
        time.sleep(0.05)
    raise AssertionError(event)


def test_limits_are_the_models() -> None:
    """A bound that the service has moved would refuse what it takes, or let pass what it refuses."""
    shapes = model()["shapes"]
    pending = shapes["MaxPendingTimeInSeconds"]
    assert (pending["min"], pending["max"]) == (_SHORTEST_PENDING, _LONGEST_PENDING)
    assert shapes["InstancePreferenceList"]["max"] == _MOST_CHOICES


def test_one_instance_type_unless_more_are_allowed(make: Make, storage_url: str) -> None:
    """Every type of a list needs a quota of its own, so that a list by itself would refuse jobs of today."""
    body = _create(make(), spec(storage_url, resources=GPU))
    assert body["ResourceConfig"]["InstanceType"] == FIRST[0]
    assert "InstancePreferences" not in body["ResourceConfig"]


def test_an_ordered_list(make: Make, storage_url: str) -> None:
    """The cheapest come first, and the plan says which."""
    backend = make(instances={"choices": 3}, pending="2h")
    job = spec(storage_url, resources=GPU, nodes=2)
    body = _create(backend, job)
    assert body["ResourceConfig"]["InstancePreferences"] == [{"InstanceType": name} for name in FIRST]
    assert body["ResourceConfig"]["InstanceCount"] == 2
    assert body["StoppingCondition"]["MaxPendingTimeInSeconds"] == 7200
    assert "resources: 2 x ml.g5.xlarge, else ml.g5.2xlarge, else ml.g5.4xlarge" in backend.plan(job).notes


def test_a_pinned_type_stays_alone(make: Make, storage_url: str) -> None:
    """Whoever pins one type wants no other."""
    body = _create(make(instances={"choices": 5, "pin": "ml.g5.xlarge"}), spec(storage_url, resources=GPU))
    assert body["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"


@pytest.mark.parametrize("key", [None, "alias/volume"])
@pytest.mark.parametrize("asked", [resources(), resources(1, 2, gpu=1), resources(8, 60, gpu=8)])
def test_one_image_and_one_key_serve_every_type_of_a_list(
    service: Service, make: Make, storage_url: str, asked: Any, key: str | None
) -> None:
    """An image for another architecture would not start, and a key is refused for disks of an instance's own."""
    service.conduct.containers = False
    backend = make(instances={"choices": 5}, **({"keys": {"volume": key}} if key else {}))
    job = spec(storage_url, resources=asked)
    assert len(_create(backend, job)["ResourceConfig"]["InstancePreferences"]) == 5
    backend.submit(backend.plan(job))


def test_waiting_is_bounded_where_sagemaker_can(make: Make, storage_url: str) -> None:
    """SageMaker counts for accelerated instances alone, and spot jobs have a limit of their own."""
    assert "MaxPendingTimeInSeconds" not in _create(make(), spec(storage_url))["StoppingCondition"]
    gpu = spec(storage_url, resources=GPU)
    assert _create(make(), gpu)["StoppingCondition"]["MaxPendingTimeInSeconds"] == 86400
    assert "MaxPendingTimeInSeconds" not in _create(make(spot=True), gpu)["StoppingCondition"]


@pytest.mark.parametrize(
    ("table", "paths"),
    [
        ({"instances": {"choices": 6}}, ["sagemaker.instances.choices"]),
        ({"instances": {"choices": 0}}, ["sagemaker.instances.choices"]),
        ({"instances": {"choices": 2}, "spot": True}, ["sagemaker.instances.choices"]),
        ({"pending": "10m"}, ["sagemaker.pending"]),
        ({"pending": "29d"}, ["sagemaker.pending"]),
        ({"training_plan": "eta-nightly"}, ["sagemaker.training_plan"]),
        ({"training_plan": PLAN, "spot": True}, ["sagemaker.training_plan"]),
        ({"models": {"eta": {"training_plan": PLAN, "spot": True}}}, ["sagemaker.models.eta.training_plan"]),
    ],
)
def test_what_cannot_be(table: dict[str, Any], paths: list[str]) -> None:
    """What the service would refuse at every submission is a fault of the configuration."""
    assert [path for path, _ in read_table("sagemaker", table).faults] == paths


@pytest.mark.parametrize("choices", [1, 2])
@pytest.mark.parametrize("elsewhere", ["arn:aws:sagemaker:eu-west-1:", "arn:aws-cn:sagemaker:cn-north-1:"])
def test_a_plan_of_elsewhere(make: Make, storage_url: str, choices: int, elsewhere: str) -> None:
    """A training plan belongs to a region, which its ARN names."""
    plan = f"{elsewhere}123456789012:training-plan/eta-nightly"
    faults = make(training_plan=plan, instances={"choices": choices}).plan(spec(storage_url, resources=GPU)).faults
    field = "sagemaker.training_plan" if choices == 1 else "sagemaker.instances.choices"
    assert {path for path, _ in faults} == {field}


def test_reserved_capacity_comes_first(make: Make, storage_url: str) -> None:
    """A plan's capacity is of one type; the types after it are on demand. Checkpoints survive the way between."""
    body = _create(make(training_plan=PLAN), spec(storage_url, resources=GPU))
    assert body["ResourceConfig"]["TrainingPlanArn"] == PLAN
    assert "CheckpointConfig" in body
    several = _create(make(training_plan=PLAN, instances={"choices": 2}), spec(storage_url, resources=GPU))
    assert several["ResourceConfig"]["InstancePreferences"] == [
        {"InstanceType": FIRST[0], "TrainingPlanArns": [PLAN]},
        {"InstanceType": FIRST[1]},
    ]


def test_the_first_type_with_capacity_runs_the_job(service: Service, make: Make, storage_url: str) -> None:
    """What a list is for."""
    service.conduct.scarce = {FIRST[0]}
    backend = make(instances={"choices": 2})
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    assert _wait(backend, job).status is JobStatus.SUCCEEDED
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job.id)
    assert described["ResourceConfig"]["SelectedInstanceType"] == FIRST[1]
    assert doctor._use(described)[0] == FIRST[1]


@pytest.mark.parametrize(
    ("quotas", "left"),
    [
        ({FIRST[0]: 0}, FIRST[1:]),
        ({FIRST[1]: 0}, [FIRST[0], FIRST[2]]),
        ({FIRST[0]: 0, FIRST[2]: 0}, FIRST[1:2]),
        ({FIRST[1]: 0, FIRST[2]: 0}, FIRST[:1]),
    ],
)
def test_a_list_without_the_types_that_the_account_lacks(
    service: Service, make: Make, storage_url: str, quotas: dict[str, int], left: list[str]
) -> None:
    """One quota of 0 refuses the whole list, and a list is there to run where there is room."""
    service.conduct.containers = False
    service.conduct.quotas = quotas
    backend = make(instances={"choices": 3})
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job.id)["ResourceConfig"]
    types = [one["InstanceType"] for one in described.get("InstancePreferences", ())]
    assert (types or [described["InstanceType"]]) == left


def test_an_account_that_has_none_of_the_types(service: Service, make: Make, storage_url: str) -> None:
    """Then the refusal is the job's, and a migration may fall back."""
    service.conduct.quotas = dict.fromkeys(FIRST, 0)
    backend = make(instances={"choices": 3})
    with pytest.raises(QuotaExceeded, match=FIRST[2]):
        backend.submit(backend.plan(spec(storage_url, resources=GPU)))
    assert service.count("CreateTrainingJob") == 3


def test_an_account_that_takes_no_list(
    service: Service, make: Make, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A region that does not have the feature yet runs the job on its first type."""
    service.conduct.containers = False
    service.conduct.lists_of_types = False
    backend = make(instances={"choices": 3}, training_plan=PLAN)
    job = spec(storage_url, resources=GPU)
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        backend.submit(backend.plan(job))
    assert "because AWS says: InstancePreferences is not available" in caplog.text
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job.id)["ResourceConfig"]
    assert (described["InstanceType"], described["TrainingPlanArn"]) == (FIRST[0], PLAN)


@pytest.mark.parametrize("told", ["Stopped", "Stopping", "Failed"])
@pytest.mark.parametrize("choices", [1, 2])
def test_a_job_that_waits_too_long(service: Service, make: Make, storage_url: str, told: str, choices: int) -> None:
    """SageMaker calls it stopped; on every backend it is a failure for want of capacity, in the same words."""
    service.conduct.scarce = set(FIRST)
    service.conduct.hurry = 1800 / 0.3
    service.conduct.pending_ends = told
    backend = make(instances={"choices": choices}, pending="30m")
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    event = _wait(backend, job)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert event.message == words.no_capacity(timedelta(minutes=30))


def test_a_stop_while_it_waits_is_a_stop(service: Service, make: Make, storage_url: str) -> None:
    """A job that somebody stopped is no failure, however little capacity there was."""
    service.conduct.scarce = set(FIRST)
    backend = make()
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    backend.stop(job.id)
    event = _wait(backend, job)
    assert (event.status, event.message) == (JobStatus.STOPPED, words.STOP_REQUESTED)


def test_a_stop_of_a_job_that_waits_for_its_plan_to_begin(service: Service, make: Make, storage_url: str) -> None:
    """SageMaker does not count that time, which may be days: somebody's stop then is no lack of capacity."""
    service.conduct.scarce = set(FIRST)
    backend = make(training_plan=PLAN, pending="30m")
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    waiting = service.jobs.find(job.id)
    assert waiting
    waiting._told["CreationTime"] = waiting.created = waiting.created - 86400
    backend.stop(job.id)
    event = _wait(backend, job)
    assert (event.status, event.message) == (JobStatus.STOPPED, words.STOP_REQUESTED)


def test_an_older_boto3_asks_for_the_first_type(
    service: Service, make: Make, storage_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that cannot say a list would fail with a KeyError of botocore's; the job runs, and the log says how."""
    service.conduct.containers = False
    backend = make(instances={"choices": 2}, training_plan=PLAN)
    monkeypatch.setattr(type(backend.aws), "knows", lambda *_: False)
    job = spec(storage_url, resources=GPU)
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        backend.submit(backend.plan(job))
    assert "upgrade boto3" in caplog.text
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job.id)["ResourceConfig"]
    assert (described["InstanceType"], described["TrainingPlanArn"]) == (FIRST[0], PLAN)


SCRIPT = """
kept=$LYFTLEARN_CHECKPOINTS_DIR/steps
trap 'echo saved > $kept; exit 0' TERM
[ -e $kept ] && exec cat $kept
echo "$((LYFTLEARN_CAPACITY_ENDS_AT - $(date +%s))) seconds; $(env | grep -c ^SAGEMAKER_) variables of SageMaker"
while true; do sleep 0.1; done
"""


def test_a_job_survives_the_end_of_its_reserved_capacity(service: Service, make: Make, storage_url: str) -> None:
    """It is told in time, keeps its checkpoint, and goes on in the next period; the container waits to be taken."""
    service.conduct.block_expires = time.time() + capacity.RECLAIMED_BEFORE + 10
    backend = make(training_plan=PLAN)
    job = spec(storage_url, resources=GPU, command=("sh", "-c", SCRIPT), grace=timedelta(seconds=1))
    backend.submit(backend.plan(job))
    running = service.jobs.find(job.id)
    assert running
    kept = service.jobs._directory / job.id / "algo-1" / "checkpoints" / "files" / "steps"
    _until(kept.exists)
    assert backend.describe(job.id).event.status is JobStatus.RUNNING
    service.conduct.block_expires = time.time() + 86400
    running.break_off("Pending")
    event = _wait(backend, job)
    assert (event.status, event.incarnation) == (JobStatus.SUCCEEDED, 1)
    lines = [line.text for line in backend.logs(job.id, LogQuery())]
    assert re.fullmatch("[0-9]+ seconds; 0 variables of SageMaker", lines[0])
    assert "saved" in lines


def test_a_plan_that_is_over_ends_its_job_as_preempted(service: Service, make: Make, storage_url: str) -> None:
    """Nobody asked for that end, so it is no stop."""
    service.conduct.containers = False
    backend = make(training_plan=PLAN)
    job = spec(storage_url, resources=GPU)
    backend.submit(backend.plan(job))
    running = service.jobs.find(job.id)
    assert running
    running.finish("Stopped")
    event = _wait(backend, job)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)
    assert event.message == words.CAPACITY_ENDED == capacity.Capacity.MESSAGE


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
