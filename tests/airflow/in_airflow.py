"""What `test_operators.py` runs with Airflow's Python: prints what the operators accept, as JSON."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from airflow.providers_manager import ProvidersManager
from airflow.sdk import DAG

from lyftlearn import Client
from lyftlearn.airflow import LyftLearnPredict, LyftLearnProcess, LyftLearnTrain, LyftLearnTune
from lyftlearn.airflow.trigger import JobTrigger

OPERATORS = {
    "train": LyftLearnTrain,
    "process": LyftLearnProcess,
    "predict": LyftLearnPredict,
    "tune": LyftLearnTune,
}


def refusal(make: Callable[[], Any]) -> str:
    try:
        make()
    except TypeError as exc:
        return str(exc)
    return "none"


with DAG("any", schedule=None, default_args={"image": "example.com/a:1", "retries": 4}):
    task = LyftLearnTrain(task_id="a", model="eta-{{ ds }}", command="x", command_retries=1)
    found = {
        "arguments": {name: list(inspect.signature(one).parameters) for name, one in OPERATORS.items()},
        "functions": {name: list(inspect.signature(getattr(Client, name)).parameters)[1:] for name in OPERATORS},
        "given": task.arguments,
        "retries": task.retries,
        "missing": refusal(lambda: LyftLearnTrain(task_id="b", model="eta")),
        "unknown": refusal(lambda: LyftLearnTrain.partial(task_id="c", model="a", comand="x").expand(image=["i"])),
        "trigger": JobTrigger("eta-tl1", "/etc/lyftlearn.toml").serialize(),
        "provider": "lyftlearn" in ProvidersManager().providers,
    }
json.dump(found, sys.stdout)
