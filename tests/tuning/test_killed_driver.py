"""A driver that is killed, as a process of its own: `test_bad_days` kills one at each of its moments."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn import Choice, JobStatus, Objective

PATIENCE = 600.0


def pids_of_driver(job_id: str) -> list[int]:
    """The driver's processes, by the variable that names their job."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"lyftlearn.tuning" in words and f"LYFTLEARN_JOB_ID={job_id}".encode() in variables:
            found.append(int(path.name))
    return found


def eventually(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.slow
def test_a_driver_that_is_killed_while_trials_run(tmp_path: Path) -> None:
    """SIGKILL comes with two trials running; they outlive their driver, and its successor takes them up."""
    client = lyftlearn.Client(config={"home": str(tmp_path / "home")})
    runs, go = tmp_path / "runs", tmp_path / "go"
    runs.mkdir()
    command = f"touch {runs}/$LYFTLEARN_JOB_ID.$$$$; while ! [ -e {go} ]; do sleep 0.05; done; echo loss=1"
    job = client.tune(
        "eta",
        command=command,
        space={"kind": Choice([1, "1", True])},
        objective=Objective(name="loss", goal="minimize", pattern=r"loss=([0-9.]+)"),
        trials=3,
        parallel=2,
        strategy="grid",
    )
    eventually(lambda: len(list(runs.iterdir())) == 2, "two trials that run")
    before = pids_of_driver(job.id)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: set(pids_of_driver(job.id)) - set(before), "a driver that is started anew")
    go.touch()
    state = job.wait("3m")
    assert (state.status, state.attempt) == (JobStatus.SUCCEEDED, 2)
    assert [trial.objective for trial in job.trials()] == [1.0, 1.0, 1.0]
    started = sorted(path.name.partition(".")[0] for path in runs.iterdir())
    assert started == sorted(trial.job.id for trial in job.trials())
