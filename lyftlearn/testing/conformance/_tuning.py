"""Searches, on backends that offer them. Their driver needs an image with lyftlearn; a grid needs no Optuna."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops
from lyftlearn.backend import Capability

_LOSS = lyftlearn.Objective(name="loss", goal="minimize", pattern=r"loss=(\S+)")
_TRAIN = """
import json, os
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    depth = json.load(file)["depth"]
if depth > 2:
    raise SystemExit("too deep")
print(f"loss={depth / 2}")
"""
_SLEEP = "import time; time.sleep(600)"


class TuningConformance:
    """`tune`: a driver on the backend, whose trials are jobs there. It needs the fixtures of ClientConformance."""

    def test_a_search_ends_with_its_best(
        self, client: lyftlearn.Client, config: Mapping[str, Any], python: Sequence[str], patience: str
    ) -> None:
        """Every process sees the same trials; one that fails counts, and is not fatal."""
        _need_searches(client, config)
        job = _search(client, [*python, "-c", _TRAIN])
        assert job.wait(patience).status is lyftlearn.JobStatus.SUCCEEDED
        found = lyftlearn.Client(config=config).job(job.id)
        assert isinstance(found, lyftlearn.TuningJob)
        trials = found.trials()
        assert [(dict(trial.hyperparameters), trial.objective) for trial in trials] == [
            ({"depth": 2}, 1.0),
            ({"depth": 3}, None),
        ]
        assert "too deep" in trials[1].message
        assert found.best().number == 0
        labelled = client.jobs(labels={"lyftlearn/tuning": job.id})
        assert {one.id for one in labelled} == {trial.job.id for trial in trials}

    def test_a_stop_ends_the_trials(
        self, client: lyftlearn.Client, config: Mapping[str, Any], python: Sequence[str]
    ) -> None:
        """Nothing that a search has started goes on after it."""
        _need_searches(client, config)
        job = _search(client, [*python, "-c", _SLEEP])
        while not list(client.jobs(labels={"lyftlearn/tuning": job.id}, status="running")):
            assert not job.refresh().status.finished, f"{job.id} ended before a trial ran: {job.state}"
            time.sleep(0.2)
        job.stop(wait=True)
        assert job.refresh().status is lyftlearn.JobStatus.STOPPED
        trials = list(client.jobs(labels={"lyftlearn/tuning": job.id}))
        assert [trial.status for trial in trials] == [lyftlearn.JobStatus.STOPPED]


def _need_searches(client: lyftlearn.Client, config: Mapping[str, Any]) -> None:
    (installed,) = [backend for backend in ops.backends(client) if backend.name == config["backend"]]
    if Capability.TUNE in installed.lacks:
        pytest.skip(f"lacks {Capability.TUNE}: {installed.lacks[Capability.TUNE]}")


def _search(client: lyftlearn.Client, command: Sequence[str]) -> lyftlearn.TuningJob:
    depth = lyftlearn.IntUniform(low=2, high=3)
    return client.tune(
        "conformance", command=command, space={"depth": depth}, objective=_LOSS, trials=2, strategy="grid"
    )
