"""The DAGs of the tests: tasks that wait at a boundary, once, until the test has killed what it kills there.

`conf` of a run names the boundary (`hold`). A file `<run>.reached` says that it was reached, and holds the number of
the process; `<run>.go` lets the task, or its job, go on. Each start of a job adds a line to `<run>.jobs`.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context

from lyftlearn.airflow import LyftLearnPredict, LyftLearnProcess, LyftLearnTrain, LyftLearnTune
from lyftlearn.types import Choice, Objective

ROOM = Path(os.environ["LYFTLEARN_TEST_ROOM"])
COMMAND = f"""
echo $LYFTLEARN_JOB_ID >> {ROOM}/{{{{ run_id }}}}.jobs
{{% if dag_run.conf.get("hold") == "deferred" %}}until [ -e {ROOM}/{{{{ run_id }}}}.go ]; do sleep 0.2; done
{{% endif %}}sleep 5  # or the next task is queued before Airflow has noted that this one has left its worker
echo the job of {{{{ run_id }}}}
echo weights > $LYFTLEARN_MODEL_DIR/model
exit {{{{ dag_run.conf.get("code", 0) }}}}
"""


def hold(boundary: str, ti: Any) -> None:
    reached, go = (ROOM / f"{ti.run_id}.{suffix}" for suffix in ("reached", "go"))
    if ti.get_template_context()["dag_run"].conf.get("hold") != boundary or reached.exists():
        return
    reached.write_text(str(os.getpid()))
    while not go.exists():
        time.sleep(0.1)


class Held(LyftLearnTrain):
    """Waits before it submits, after it has submitted, or when the job has ended."""

    def _find_or_submit(self, ti: Any) -> Any:
        hold("before submit", ti)
        job = super()._find_or_submit(ti)
        hold("after submit", ti)
        return job

    def _finish(self, job: Any) -> Any:
        hold("at the end", get_current_context()["ti"])
        return super()._finish(job)


retried = {"retries": 30, "retry_delay": timedelta(seconds=1), "config": os.environ["LYFTLEARN_TEST_CONFIG_FILE"]}
with DAG("held", schedule=None, default_args=retried):
    Held(task_id="train", model="held", command=COMMAND)

with DAG("impatient", schedule=None, default_args={**retried, "retries": 0}):
    LyftLearnTrain(task_id="train", model="slow", command="sleep 600", execution_timeout=timedelta(seconds=15))

with DAG("kinds", schedule=None, default_args=retried):
    process = LyftLearnProcess(
        task_id="process", name="rows", command="echo 7 > $LYFTLEARN_OUTPUTS_DIR/output/rows", deferrable=False
    )
    tune = LyftLearnTune(
        task_id="tune", model="found", trials=2, strategy="grid", space={"depth": Choice([1, 2])},
        objective=Objective(name="rmse", goal="minimize", pattern="rmse=([0-9.]+)"),
        command='echo rmse=$(grep -o "[0-9]" $LYFTLEARN_HYPERPARAMETERS); echo m > $LYFTLEARN_MODEL_DIR/m',
    )  # fmt: skip
    best = "{{ ti.xcom_pull('tune')['best']['hyperparameters']['depth'] }}"
    train = LyftLearnTrain(
        task_id="train", model="found", command=f"echo depth {best} > $LYFTLEARN_MODEL_DIR/m", command_retries=1
    )
    predict = LyftLearnPredict.partial(
        task_id="predict", model="found", artifact=train.output,
        command="cat $LYFTLEARN_MODEL_DIR/m; find $LYFTLEARN_INPUTS_DIR/rows -type f -exec cat {} +",
    ).expand(inputs=[{"rows": "{{ ti.xcom_pull('process')['outputs']['output'] }}"}] * 2)  # fmt: skip
    [process, tune] >> train >> predict
