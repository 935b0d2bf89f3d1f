"""Jobs of the local backends that a released version left behind: found, run, followed, stopped and downloaded."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn import Client
from tests.golden.calls import JOBS, TRAIN
from tests.golden.corpus import Corpus
from tests.golden.formats import LOCAL

PATIENCE = "600s"


@pytest.fixture(params=LOCAL)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the backend that the jobs go to."""
    name: str = request.param
    monkeypatch.setenv("LYFTLEARN_BACKEND", name)
    return name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return `LYFTLEARN_HOME` of the jobs."""
    return tmp_path / "home"


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client of the current version."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", os.devnull)
    return Client(config={"project": "golden", "home": str(home), **{name: {"parallel": 8} for name in LOCAL}})


def test_finished_jobs_are_what_they_were(corpus: Corpus, backend: str, home: Path, client: Client) -> None:
    """State, output and log of a job are read for months after it has run."""
    corpus.place_local(backend, "finished", home)
    kept = corpus.local_jobs(backend, home)["finished"]
    for said in kept.values():
        job = client.job(said["id"])
        state = job.refresh()
        assert (job.kind, job.name, state.status, state.reason) == (
            said["kind"],
            said["name"],
            said["status"],
            said["reason"],
        )
        assert (state.exit_code, state.attempt, state.message) == (
            said["exit_code"],
            said["attempt"],
            said["message"],
        )
        for moment in ("created_at", "started_at", "finished_at"):
            assert getattr(state, moment) == (said[moment] and datetime.fromisoformat(said[moment]))
        assert dict(job.outputs) == (said["outputs"] if state.status == "succeeded" else {})
        assert list(job.logs(follow=False)) == said["log"]
    assert {job.id for job in client.jobs()} == {said["id"] for said in kept.values()}
    assert [job.id for job in client.jobs(labels={"team": "maps"})] == [kept["trained"]["id"]]


@pytest.mark.containers
def test_finished_jobs_are_downloaded_and_read_by_others(
    corpus: Corpus, backend: str, home: Path, client: Client, tmp_path: Path
) -> None:
    """The models of last month are still served, and a repeated keyed call finds its job."""
    corpus.place_local(backend, "finished", home)
    kept = corpus.local_jobs(backend, home)["finished"]
    client.job(kept["trained"]["id"]).download(tmp_path / "trained")
    assert (tmp_path / "trained/output/rides.txt").read_text() == "5\n"
    assert "1.10" in (tmp_path / "trained/model/weights.json").read_text()
    client.job(kept["processed"]["id"]).download(tmp_path / "processed")
    assert (tmp_path / "processed/clean/all.txt").read_text() == "four five\none two three\n"
    again = client.train(**TRAIN, key=f"nightly-{backend}")
    assert again.id == kept["trained"]["id"]
    with pytest.raises(lyftlearn.Conflict):
        client.train(**{**TRAIN, "hyperparameters": {}}, key=f"nightly-{backend}")
    reader = client.predict(
        "eta",
        artifact=again,
        command="cat $LYFTLEARN_MODEL_DIR/weights.json",
        inputs={"rides": kept["trained"]["outputs"]["model"]},
    )
    reader.wait(PATIENCE, progress=False)
    assert "1.10" in "".join(reader.logs())


@pytest.mark.containers
def test_queued_jobs_run(corpus: Corpus, backend: str, home: Path, client: Client, tmp_path: Path) -> None:
    """A job that waits over an upgrade is started by the command that its version had stored."""
    corpus.place_local(backend, "queued", home)
    queued = corpus.local_jobs(backend, home)["queued"]
    waiting = client.job(queued["waiting"])
    assert next(iter(waiting.logs(follow=True))) == "waiting"
    while waiting.status == "starting":  # a line may be there before the state is
        pass
    assert waiting.status == "running"
    jobs = [client.job(queued[role]) for role in ("train", "process")]
    assert [state.status for state in client.wait(jobs, PATIENCE, progress=False)] == ["succeeded"] * 2
    assert list(jobs[0].logs()) == [f"rides 5 rate 1.10 hello wörld {jobs[0].id}"]
    jobs[0].download(tmp_path / "out")
    assert (tmp_path / "out/output/rides.txt").read_text() == "5\n"
    waiting.stop()
    assert waiting.wait(PATIENCE, check=False, progress=False).status == "stopped"


def test_queued_jobs_are_stopped_before_they_start(corpus: Corpus, backend: str, home: Path, client: Client) -> None:
    """Who stops an old queue before an upgrade means it."""
    corpus.place_local(backend, "queued", home)
    job = client.job(corpus.local_jobs(backend, home)["queued"]["waiting"])
    job.stop(wait=True)
    assert job.refresh().status == "stopped"


def test_jobs_that_were_lost_say_so(corpus: Corpus, backend: str, home: Path, client: Client) -> None:
    """A machine that was restarted for the upgrade leaves jobs without their supervisors."""
    corpus.place_local(backend, "lost", home)
    job = client.job(corpus.local_jobs(backend, home)["lost"])
    state = job.wait(PATIENCE, check=False, progress=False)
    assert (state.status, state.reason) == ("failed", "platform")
    assert list(job.logs()) == ["before"]


def test_every_kind_of_job_is_there(corpus: Corpus, home: Path) -> None:
    """If a corpus lost a part, the tests above must not silently test less."""
    for backend in LOCAL:
        said = corpus.local_jobs(backend, home)
        assert said["finished"].keys() == {*JOBS, "predicted"}
        assert said["queued"].keys() == {"train", "process", "waiting"}
