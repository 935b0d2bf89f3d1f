"""What SageMaker says, in lyftlearn's words."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest

from lyftlearn.backend import words
from lyftlearn.events import ObservedState, advance
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_sagemaker.status.events import classify, event_of_job, from_event_bridge

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def _job(primary: str, *secondary: str, **more: Any) -> dict[str, Any]:
    transitions = [
        {"Status": status, "StartTime": BEGIN + timedelta(seconds=number), "StatusMessage": f"message {number}"}
        for number, status in enumerate(secondary)
    ]
    last = BEGIN + timedelta(seconds=len(secondary))
    started = {"TrainingStartTime": BEGIN} if "Training" in secondary else {}
    ended = {"TrainingEndTime": last} if primary in ("Completed", "Failed", "Stopped") else {}
    return {
        "TrainingJobName": "eta-tsaaaaaaaaaaa",
        "TrainingJobStatus": primary,
        "SecondaryStatus": secondary[-1],
        "SecondaryStatusTransitions": transitions,
        "CreationTime": BEGIN,
        "LastModifiedTime": last,
        **started,
        **ended,
        **more,
    }


@pytest.mark.parametrize(
    ("primary", "secondary", "status"),
    [
        ("InProgress", ["Pending"], JobStatus.PENDING),
        ("InProgress", ["Starting"], JobStatus.PENDING),
        ("InProgress", ["Starting", "Downloading"], JobStatus.STARTING),
        ("InProgress", ["Starting", "Training"], JobStatus.RUNNING),
        ("InProgress", ["Starting", "Training", "Uploading"], JobStatus.RUNNING),
        ("InProgress", ["Starting", "Training", "Interrupted"], JobStatus.STARTING),
        ("InProgress", ["Starting", "Training", "Interrupted", "Starting"], JobStatus.STARTING),
        ("InProgress", ["Training", "Restarting"], JobStatus.STARTING),
        ("InProgress", ["A status of next year"], JobStatus.PENDING),
        ("Stopping", ["Training", "Stopping"], JobStatus.STOPPING),
        ("Completed", ["Training", "Completed"], JobStatus.SUCCEEDED),
        ("Stopped", ["Training", "Stopping", "Stopped"], JobStatus.STOPPED),
    ],
)
def test_statuses(primary: str, secondary: list[str], status: JobStatus) -> None:
    """One vocabulary; a status that nobody knows yet is no error."""
    event = event_of_job(_job(primary, *secondary))
    assert (event.status, event.reason) == (status, None)


@pytest.mark.parametrize(
    ("secondary", "reason"),
    [
        (["Training", "MaxRuntimeExceeded"], FailureReason.TIMEOUT),
        (["Training", "Interrupted", "MaxWaitTimeExceeded"], FailureReason.PREEMPTED),
        (["Starting", "MaxWaitTimeExceeded"], FailureReason.CAPACITY),
    ],
)
def test_stopped_by_a_limit_is_a_failure(secondary: list[str], reason: FailureReason) -> None:
    """SageMaker calls it Stopped; read as that, it would pass for somebody's wish."""
    event = event_of_job(_job("Stopped", *secondary))
    assert (event.status, event.reason) == (JobStatus.FAILED, reason)


def _reported(words: str = "last words", **report: Any) -> Any:
    said = f"AlgorithmError: lyftlearn/1 {json.dumps(report, separators=(',', ':'))}\n{words}, exit code: 37"
    return event_of_job(_job("Failed", "Training", "Failed", FailureReason=said[:1024]))


def test_the_runtimes_report_is_read_back() -> None:
    """Exit code, reason, attempt and last words travel through FailureReason."""
    event = _reported('Traceback: {"a": 1}', exit_code=37, reason="user-error", attempt=3)
    assert (event.exit_code, event.reason, event.attempt) == (37, FailureReason.USER_ERROR, 3)
    assert event.message == 'Traceback: {"a": 1}'


def test_a_timeout_of_the_runtime() -> None:
    """The job's own timeout ends the command long before SageMaker's backstop."""
    assert _reported(exit_code=None, reason="timeout", attempt=1).reason is FailureReason.TIMEOUT


def test_an_idle_notebook_was_stopped() -> None:
    """SageMaker calls it a failure, since it reads no report of a success; nobody else may."""
    event = _reported("idle for 4h", exit_code=None, reason=None, stopped=True, idle=True, attempt=1)
    assert (event.status, event.reason, event.message) == (JobStatus.STOPPED, None, "idle for 4h")


def test_a_report_that_was_cut_short() -> None:
    """SageMaker keeps 1024 characters; what is left of long words is still words."""
    event = _reported("x" * 2000, exit_code=1, reason="user-error", attempt=1)
    assert event.exit_code == 1
    assert set(event.message) == {"x"}


def test_a_node_that_was_ended_is_no_wish() -> None:
    """When one node fails, the others are told to stop, and one of those may be the first that SageMaker quotes."""
    event = _reported("", exit_code=None, reason=None, stopped=True)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.USER_ERROR)


def test_a_command_that_signals_process_1() -> None:
    """Where there is one node, no other can have failed; every backend says the same of it."""
    said = 'AlgorithmError: lyftlearn/1 {"exit_code":null,"reason":null,"stopped":true}\n, exit code: 143'
    job = _job("Failed", "Training", "Failed", FailureReason=said)
    event = event_of_job({**job, "ResourceConfig": {"InstanceCount": 1}})
    assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 143)
    assert event.message == words.SIGNALLED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CapacityError: Unable to provision requested ML compute capacity.", FailureReason.CAPACITY),
        ("InternalServerError: We encountered an internal error. Please try again.", FailureReason.PLATFORM),
        ("ClientError: Please use an instance type with more memory, or reduce the size", FailureReason.OUT_OF_MEMORY),
        ("AlgorithmError: , exit code: 137", FailureReason.OUT_OF_MEMORY),
        ("ClientError: Cannot pull image 1234.dkr.ecr.us-east-1.amazonaws.com/x", FailureReason.IMAGE),
        ('AlgorithmError: exec: "python3": executable file not found in $PATH', FailureReason.IMAGE),
        ('ClientError: Data download failed:No S3 objects found under S3 URL "s3://b/x"', FailureReason.CONFIGURATION),
        ("ClientError: Failed to invoke sts:AssumeRole. not authorized", FailureReason.CONFIGURATION),
        ("ResourceLimitExceeded: The account-level service limit is 0 Instances", FailureReason.CAPACITY),
        ("AlgorithmError: , exit code: 1", FailureReason.USER_ERROR),
        ("something new", FailureReason.PLATFORM),
    ],
)  # fmt: skip
def test_where_the_runtime_could_not_say_it(said: str, reason: FailureReason) -> None:
    """Capacity comes after acceptance, images and inputs fail before the runtime starts: SageMaker's words are read."""
    assert classify(said) is reason
    event = event_of_job(_job("Failed", "Starting", "Failed", FailureReason=said))
    assert (event.reason, event.message) == (reason, said)


@pytest.mark.parametrize(
    "said",
    [
        "ClientError: Data download failed:Could not download s3://b/x: insufficient disk space",
        "ClientError: Artifact upload failed:Insufficient disk space",
        "ClientError: Data download failed:[Errno 28] No space left on device",
    ],
)
def test_a_disk_that_is_full_names_its_field(said: str) -> None:
    """As a pod that is evicted for its disk does: whoever reads it knows what to ask for."""
    event = event_of_job(_job("Failed", "Downloading", "Failed", FailureReason=said))
    assert event.reason is FailureReason.CONFIGURATION
    assert event.message == f"it needed more disk than resources.disk: {said}"


def test_an_input_that_is_not_there() -> None:
    """It is told as the runtime tells it, in the user's words, whoever fetches; whatever words are in its address."""
    uri = "s3://role/capacity/image/"
    said = f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in input data source.'
    channel = {"ChannelName": "flights", "DataSource": {"S3DataSource": {"S3Uri": uri}}}
    event = event_of_job(_job("Failed", "Downloading", "Failed", FailureReason=said, InputDataConfig=[channel]))
    assert (event.reason, event.message) == (FailureReason.CONFIGURATION, f"inputs.flights: nothing is at {uri}")


@pytest.mark.parametrize(
    ("channel", "field"),
    [("trips", "inputs.trips"), ("lyftlearn-artifact", "artifact"), ("lyftlearn-mount-data", "mounts.data")],
)
def test_a_directory_of_a_file_system_that_is_not_there(channel: str, field: str) -> None:
    """It is told by the name that the caller gave the input; of two channels it is the one with this directory."""
    said = "ClientError: Unable to mount file system: fs-1, directory path: /a/b.c. No such file or directory: /a/b.c."
    directories = {"other": "/a", channel: "/a/b.c"}
    config = [
        {"ChannelName": name, "DataSource": {"FileSystemDataSource": {"FileSystemId": "fs-1", "DirectoryPath": path}}}
        for name, path in directories.items()
    ]
    event = event_of_job(_job("Failed", "Downloading", "Failed", FailureReason=said, InputDataConfig=config))
    assert event.message == f"{field}: nothing is at /a/b.c of the file system fs-1"
    assert event.reason is FailureReason.CONFIGURATION


def test_the_attempt_of_a_success() -> None:
    """A job that succeeded leaves no report; SageMaker has read the attempt out of the log."""
    metrics = [{"MetricName": "lyftlearn:attempt", "Value": 3.0, "Timestamp": BEGIN}]
    assert event_of_job(_job("Completed", "Training", "Completed", FinalMetricDataList=metrics)).attempt == 3


def test_any_order_gives_one_state() -> None:
    """A spot job's whole life, shuffled and doubled, ends in the same state as in order."""
    life = ["Pending", "Starting", "Downloading", "Training", "Interrupted", "Starting", "Training", "Uploading"]
    events = [event_of_job(_job("InProgress", *life[:count])) for count in range(1, len(life) + 1)]
    events.append(event_of_job(_job("Completed", *life, "Completed")))

    def after(order: Any) -> Any:
        start: ObservedState | None = None
        return reduce(advance, order, start)

    in_order = after(events)
    assert in_order.state.status is JobStatus.SUCCEEDED
    shuffled = random.Random(0)
    for _ in range(30):
        mixed = events * 2
        shuffled.shuffle(mixed)
        assert after(mixed).state == in_order.state
    assert after(events[:6]).state.status is JobStatus.STARTING, "an interruption leads back"
    assert after(events[:7]).state.status is JobStatus.RUNNING


def test_times_of_event_bridge() -> None:
    """They are milliseconds, as texts or numbers, and give the same event as Describe's."""
    job = _job("Completed", "Starting", "Training", "Completed")

    def milliseconds(value: Any) -> Any:
        if isinstance(value, datetime):
            return str(int(value.timestamp() * 1000))
        if isinstance(value, dict):
            return {key: milliseconds(item) for key, item in value.items()}
        return [milliseconds(item) for item in value] if isinstance(value, list) else value

    assert event_of_job(from_event_bridge(milliseconds(job))) == event_of_job(job)
