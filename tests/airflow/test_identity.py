"""Which job is a task instance's. No Airflow is needed for this."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

import pytest

from lyftlearn.airflow import get_provider_info
from lyftlearn.airflow.identity import base_key, keys, needs_another, state_document
from lyftlearn.types import FailureReason, JobState, JobStatus

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)


@dataclass
class Instance:
    dag_id: str = "retrain"
    run_id: str = "scheduled__2026-11-27T03:00:00+00:00"
    task_id: str = "train"
    map_index: int | None = -1
    max_tries: int = 2
    try_number: int = 1


def state(status: JobStatus, reason: FailureReason | None = None) -> JobState:
    return JobState(
        status=status, reason=reason, message="m", exit_code=None, attempt=1, created_at=NOW, started_at=None,
        finished_at=NOW,
    )  # fmt: skip


def test_a_later_try_has_the_same_key() -> None:
    """A try that was lost with its worker must be found."""
    assert base_key(Instance()) == base_key(Instance(try_number=2))


@pytest.mark.parametrize(
    "other",
    [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}, {"max_tries": 3}],
    ids=lambda other: str(*other),
)
def test_another_task_instance_has_another_key(other: dict[str, int]) -> None:
    """So has one that a person cleared: Airflow raises `max_tries` then, and only then."""
    assert base_key(Instance()) != base_key(replace(Instance(), **other))  # type: ignore[arg-type]


def test_ids_do_not_run_into_each_other() -> None:
    assert base_key(Instance(dag_id="a/b", run_id="c")) != base_key(Instance(dag_id="a", run_id="b/c"))
    assert base_key(Instance(map_index=None)) == base_key(Instance(map_index=-1))


def test_the_first_key_is_the_base() -> None:
    """A caller's own key means the same job in a DAG and in a script."""
    assert list(islice(keys("k"), 3)) == ["k", "k/2", "k/3"]


@pytest.mark.parametrize("reason", FailureReason)
def test_what_the_platform_broke_is_tried_again(reason: FailureReason) -> None:
    passing = (FailureReason.PREEMPTED, FailureReason.CAPACITY, FailureReason.PLATFORM)
    assert needs_another(state(JobStatus.FAILED, reason)) == (reason in passing)


@pytest.mark.parametrize("status", [one for one in JobStatus if one is not JobStatus.FAILED])
def test_only_a_job_that_was_stopped_has_a_successor(status: JobStatus) -> None:
    assert needs_another(state(status)) == (status is JobStatus.STOPPED)


def test_a_state_is_plain_data() -> None:
    document = state_document(state(JobStatus.FAILED, FailureReason.PLATFORM))
    assert json.loads(json.dumps(document)) == document
    assert document["reason"] == "platform"
    assert datetime.fromisoformat(document["created_at"]) == NOW


def test_without_airflow_the_import_names_the_command() -> None:
    """An extra that is missing says what to type. What Airflow asks for at its start needs no operator."""
    assert get_provider_info()["package-name"] == "lyftlearn"
    if importlib.util.find_spec("airflow") is not None:
        pytest.skip("Airflow is here: without it, this runs in `make test`")
    code = "from lyftlearn.airflow import LyftLearnTrain"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert tried.stderr.splitlines()[-1].endswith("pip install 'lyftlearn[airflow]'")
