"""What the operators accept, asked in Airflow's own environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.airflow import BIN, COMMAND

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not (BIN / "airflow").exists():
        pytest.skip(f"needs Airflow: {COMMAND}")
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    script = Path(__file__).with_name("in_airflow.py")
    done = subprocess.run(
        [BIN / "python", script], env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_operators_take_what_the_api_takes(found: Any) -> None:
    """In its order; `retries` is Airflow's own, so the command's have another name."""
    for name, parameters in found["functions"].items():
        expected = ["command_retries" if one == "retries" else one for one in parameters]
        assert found["arguments"][name] == [*expected, "kwargs"]


def test_what_was_given_is_passed_on_and_nothing_else(found: Any) -> None:
    """Defaults of a DAG count, and the API has its own for the rest."""
    assert found["given"] == {"model": "eta-{{ ds }}", "command": "x", "retries": 1, "image": "example.com/a:1"}
    assert found["retries"] == 4


def test_a_wrong_call_is_refused_when_the_dag_is_read(found: Any) -> None:
    assert "'command'" in found["missing"]
    assert "comand" in found["unknown"]


def test_a_trigger_keeps_ids_alone(found: Any) -> None:
    name, kept = found["trigger"]
    assert name == "lyftlearn.airflow.trigger.JobTrigger"
    assert kept == {"job_id": "eta-tl1", "config": "/etc/lyftlearn.toml"}


def test_airflow_finds_the_provider(found: Any) -> None:
    assert found["provider"]
