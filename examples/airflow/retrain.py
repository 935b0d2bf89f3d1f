"""Retrain the model of each airport every 15 minutes, and predict the day's flights with each new model."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from lyftlearn import Resources
from lyftlearn.airflow import LyftLearnPredict, LyftLearnTrain

HERE = Path(__file__).resolve().parent
ETA = HERE.parent / "eta"
CITIES = ("EWR", "JFK", "LGA")

with DAG(
    "retrain",
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    # A try is lost with its worker. The next one finds the job.
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "config": str(HERE / "lyftlearn.toml"),
        "source": str(ETA),
        "resources": Resources(cpu=1, memory="2Gi"),
        "timeout": "10m",
    },
):
    train = LyftLearnTrain.partial(task_id="train", command=["python", "train.py"]).expand_kwargs(
        [{"model": f"eta-{city.lower()}", "hyperparameters": {"origin": city}} for city in CITIES]
    )
    LyftLearnPredict.partial(
        task_id="predict", model="eta", command=["python", "predict.py"], inputs={"schedule": str(ETA / "schedule")}
    ).expand(artifact=train.output)
