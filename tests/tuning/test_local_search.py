"""A search on this machine, from the call to the best trial's model."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Choice, IntUniform, JobStatus, Objective, TuningJob
from lyftlearn.cli import main

TRAIN = """
import json, os, pathlib, sys
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    given = json.load(file)
print(json.dumps(given, sort_keys=True), os.environ["CITY"])
if given["kind"] is None:
    sys.exit("no kind")
print("loss=99")
print(f"loss={abs(given['depth'] - 3) + (0.5 if given['kind'] is True else 0)}")
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.json").write_text(json.dumps(given))
"""
KINDS: list[lyftlearn.JSON] = [1, "1", True, None]


@pytest.fixture
def client(tmp_path: Path) -> lyftlearn.Client:
    """A client whose jobs wait for the only slot: a driver that took it would wait for its own trials for ever."""
    return lyftlearn.Client(config={"home": str(tmp_path / "home"), "local": {"parallel": 1}})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "train.py").write_text(TRAIN)
    return path


def tune(client: lyftlearn.Client, source: Path | None, **changes: Any) -> TuningJob:
    call: dict[str, Any] = {
        "command": "python3 train.py",
        "source": source,
        "space": {"depth": IntUniform(low=3, high=3 + 1), "kind": Choice(KINDS)},
        "objective": Objective(name="loss", goal="minimize", pattern=r"loss=([0-9.]+)"),
        "trials": 8,
        "parallel": 4,
        "strategy": "grid",
        "hyperparameters": {"version": "1.10", "layers": [1, None]},
        "env": {"CITY": "sfo"},
        "labels": {"team": "eta"},
    }
    return client.tune("eta", **call | changes)


def test_a_search_from_the_call_to_the_model(client: lyftlearn.Client, source: Path, tmp_path: Path) -> None:
    """Types arrive as written, a failed trial is not fatal, the best is found, and its model is what is downloaded."""
    job = tune(client, source, key="nightly")
    assert job.wait("4m").status is JobStatus.SUCCEEDED
    trials = job.trials()
    assert [trial.hyperparameters["kind"] for trial in trials] == [*KINDS, *KINDS]
    assert [type(trial.hyperparameters["kind"]) for trial in trials] == [type(kind) for kind in [*KINDS, *KINDS]]
    assert [trial.objective for trial in trials] == [0.0, 0.0, 0.5, None, 1.0, 1.0, 1.5, None]
    assert trials[3].message == "no kind"
    best = job.best()
    assert (best.number, best.job.state.status) == (0, JobStatus.SUCCEEDED)
    assert best.hyperparameters == {"version": "1.10", "layers": [1, None], "depth": 3, "kind": 1}
    given = json.dumps(dict(best.hyperparameters), sort_keys=True)
    assert list(best.job.logs()) == [f"{given} sfo", "loss=99", "loss=0"]
    job.download(tmp_path / "out", output="model")
    assert json.loads((tmp_path / "out" / "model" / "model.json").read_text()) == best.hyperparameters
    assert dict(job.outputs) == dict(best.job.outputs)
    lines = list(job.logs())
    assert sorted(line.split()[1] for line in lines[:8]) == [str(number) for number in range(8)]
    assert lines[-1].startswith(f"the best of 8 trials is trial 0 ({best.job.id}): loss=0.0")
    assert {found.id for found in client.jobs(labels={"lyftlearn/tuning": job.id})} == {t.job.id for t in trials}
    assert best.job.labels["team"] == "eta"
    assert tune(client, source, key="nightly") == job


def test_a_search_of_which_nothing_succeeds(client: lyftlearn.Client, source: Path) -> None:
    """A pattern that matches nothing fails each trial, the search says why, and nothing is repeated without end."""
    job = tune(client, source, trials=1, parallel=1, space={"depth": IntUniform(low=3, high=4), "kind": Choice([1])},
               strategy="random", objective=Objective(name="auc", goal="maximize", pattern=r"auc=(.*)"))  # fmt: skip
    with pytest.raises(lyftlearn.JobFailed, match="none of 1 trials succeeded"):
        job.wait("4m")
    [trial] = job.trials()
    assert trial.objective is None
    assert trial.job.state.status is JobStatus.SUCCEEDED
    assert "loss=99 | loss=" in trial.message
    with pytest.raises(lyftlearn.JobFailed, match="no line of its output matches"):
        job.best()
    assert dict(job.outputs) == {}


def listed(job: TuningJob, config: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What `lyftlearn trials --json` prints."""
    capsys.readouterr()
    assert main(["trials", job.id, "--json", "--config", str(config)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_search_that_is_stopped(client: lyftlearn.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`stop` ends the driver and every trial that runs, and none is submitted afterwards."""
    config = tmp_path / "lyftlearn.toml"
    config.write_text(f'home = "{tmp_path / "home"}"\n')
    running = tmp_path / "running"
    job = tune(client, None, command=f"touch {running}; sleep 600", parallel=1)
    while not running.exists():
        job.refresh()
    while (seen := [trial["status"] for trial in listed(job, config, capsys)]) != ["running"]:
        assert seen == ["starting"]  # until its driver has heard of it
    job.stop(wait=True)
    assert [trial["status"] for trial in listed(job, config, capsys)] == ["stopped"]
    assert job.refresh().status is JobStatus.STOPPED
    [trial] = job.trials()
    assert trial.job.refresh().status is JobStatus.STOPPED
    assert [found.id for found in client.jobs(labels={"lyftlearn/tuning": job.id})] == [trial.job.id]


@pytest.mark.slow
def test_a_stop_reaches_the_trials_of_a_dead_driver(client: lyftlearn.Client, tmp_path: Path) -> None:
    """A platform may end a driver for good while its trials go on: nobody else would ever stop them."""
    running = tmp_path / "running"
    job = tune(client, None, command=f"touch {running}; sleep 600", parallel=1)
    while not running.exists():
        job.refresh()
    lyftlearn.Job.stop(job, wait=True)  # the driver alone
    [trial] = job.trials()
    assert job.refresh().status is JobStatus.STOPPED
    assert trial.job.refresh().status is JobStatus.RUNNING
    job.stop(wait=True)
    assert trial.job.refresh().status is JobStatus.STOPPED


@pytest.mark.slow
def test_clients_that_call_at_once_with_one_key_share_a_search(tmp_path: Path) -> None:
    """A schedule that fires twice must not pay for two searches; each client has its own connection and no lock."""
    clients = [lyftlearn.Client(config={"home": str(tmp_path / "home")}) for _ in range(4)]
    start = Barrier(len(clients))

    def call(client: lyftlearn.Client) -> TuningJob:
        start.wait()
        space = {"kind": Choice([1, "1"])}
        return tune(client, None, key="nightly", command="echo loss=1", space=space, trials=2, parallel=2)

    with ThreadPoolExecutor(len(clients)) as pool:
        jobs = list(pool.map(call, clients))
    assert len({job.id for job in jobs}) == 1
    assert jobs[0].wait("4m").status is JobStatus.SUCCEEDED
    trials = [[(trial.number, trial.job.id, trial.objective) for trial in job.trials()] for job in jobs]
    assert trials == [trials[0]] * len(jobs)
    labels = {"lyftlearn/tuning": jobs[0].id}
    assert {job.id for job in clients[0].jobs(labels=labels)} == {job_id for _, job_id, _ in trials[0]}
    assert list(clients[0].jobs(kind="tune")) == [jobs[0]]
