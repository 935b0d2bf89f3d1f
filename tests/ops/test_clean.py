"""Cleaning up: what is old and has ended goes, and nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from lyftlearn import Client, JobNotFound, ops
from lyftlearn.backend import JobQuery
from lyftlearn.errors import InvalidJob, LyftLearnError
from tests.containers import require_containers
from tests.doubles.postgres import small_disk


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(config={"home": str(tmp_path)})


def test_an_ended_job_goes_with_its_files(client: Client, tmp_path: Path) -> None:
    """A laptop that runs a job an hour is full after a year."""
    job = client.train("eta", command=["sh", "-c", "echo model > $LYFTLEARN_MODEL_DIR/model"])
    job.wait(progress=False)
    assert list(ops.clean("1d", client=client)) == []
    told = list(ops.clean("0s", dry_run=True, client=client))
    assert [one.name for one in told if one.kind == "job"] == [job.id]
    assert client.job(job.id).status == "succeeded"
    assert [one.name for one in ops.clean("0s", client=client) if one.kind == "job"] == [job.id]
    with pytest.raises(JobNotFound):
        client._session.registry.get("local").describe(job.id)
    assert client.job(job.id).status == "succeeded", "the history still tells how it ended"
    assert not list(tmp_path.rglob(f"*{job.id}*/job.json"))
    assert list((tmp_path / "storage" / "jobs" / job.id).rglob("model.tar.gz")), "outputs stay, unless they are named"


@pytest.mark.parametrize("backend", ["local", "local-kubernetes", "local-sagemaker"])
def test_what_a_removed_job_printed_is_still_told(tmp_path: Path, backend: str) -> None:
    """Line by line, of every node, with its time; and it is said where that comes from."""
    if backend != "local":
        require_containers()
    client = Client(config={"home": str(tmp_path), "backend": backend})
    says = "import os; print('  node ', os.environ['LYFTLEARN_NODE_RANK']); print(); print('\\udcff end', end='')"
    given = {"PYTHONIOENCODING": ":surrogateescape"}
    job = client.process("report", command=["python3", "-c", says], env=given, nodes=2)
    job.wait(progress=False)
    before = sorted(job.logs(timestamps=True))
    assert len(before) == 6
    assert {one.name for one in ops.clean("0s", client=client)} >= {job.id}
    with pytest.warns(UserWarning, match=f"{backend} keeps {job.id} no more: this is what file://.*/logs/{job.id} has"):
        assert sorted(client.job(job.id).logs(timestamps=True)) == before
    with pytest.warns(UserWarning, match="no more"):
        assert list(client.job(job.id).logs(node=1, tail=1)) == ["\ufffd end"]


def test_a_job_stays_whose_log_cannot_be_kept(client: Client, tmp_path: Path) -> None:
    """Its log would be lost for good."""
    job = client.process("eta", command=["echo", "words"])
    job.wait(progress=False)
    (tmp_path / "storage" / "logs").write_text("in the way")
    with pytest.raises(LyftLearnError, match="logs"):
        list(ops.clean("0s", client=client))
    assert list(job.logs()) == ["words"]


def test_a_full_disk_is_cleaned(caplog: pytest.LogCaptureFixture) -> None:
    """A job whose log finds no room stays, and is named; others go, and make the room."""
    with small_disk(24) as disk:
        client = Client(config={"home": str(disk / "home")})
        talks = "import sys; [print('x' * 1000) for _ in range(3000)]"
        large = client.process("large", command=["python3", "-c", talks])
        large.wait(progress=False)
        small = client.process("small", command=["echo", "words"])
        small.wait(progress=False)
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))
        os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - (1 << 18))
        assert [one.name for one in ops.clean("0s", client=client) if one.kind == "job"] == [small.id]
        assert f"{large.id} stays: there is no room for its log" in caplog.text
        (disk / "ballast").unlink()
        assert [one.name for one in ops.clean("0s", client=client) if one.kind == "job"] == [large.id]
        with pytest.warns(UserWarning, match="no more"):
            assert len(list(client.job(large.id).logs())) == 3000


def test_outputs_go_where_they_are_named(client: Client, tmp_path: Path) -> None:
    """Models are what jobs are run for: they go at a word of their own only."""
    job = client.train("eta", command=["sh", "-c", "echo model > $LYFTLEARN_MODEL_DIR/model"])
    job.wait(progress=False)
    kinds = {one.kind for one in ops.clean("0s", outputs=True, client=client)}
    assert {"job", "outputs"} <= kinds
    assert not list((tmp_path / "storage" / "logs").iterdir())
    assert not (tmp_path / "storage" / "jobs" / job.id).exists()


def test_a_job_that_runs_stays(client: Client) -> None:
    """However long ago it began."""
    job = client.train("eta", command=["sleep", "300"])
    try:
        assert [one for one in ops.clean("0s", client=client) if one.kind == "job"] == []
        assert not client.job(job.id).status.finished
    finally:
        job.stop(wait=True)


def test_a_key_whose_job_is_removed_does_not_run_again(client: Client) -> None:
    """A nightly call that is repeated after the clean-up must not start last month's training."""
    job = client.train("eta", command=["true"], key="nightly")
    job.wait(progress=False)
    assert any(one.kind == "job" for one in ops.clean("0s", client=client))
    assert client.train("eta", command=["true"], key="nightly").id == job.id
    assert list(client._session.registry.get("local").list(JobQuery())) == []


@pytest.mark.parametrize("wrong", ["soon", "-1d", "99999999d"])
def test_a_wrong_time_is_named_before_anything_goes(client: Client, wrong: str) -> None:
    """A slip must not be read as zero."""
    with pytest.raises(InvalidJob, match="older_than"):
        ops.clean(wrong, client=client)


def test_a_broken_log_keeps_its_own_job_only(client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else one job whose files somebody damaged lets nobody clean any more."""
    jobs = [client.process("eta", command=["echo", "hello"]) for _ in range(2)]
    client.wait(jobs, progress=False)
    log = next(tmp_path.rglob(f"{jobs[0].id}/logs/0.log"))
    log.unlink()
    log.mkdir()
    with pytest.raises(LyftLearnError, match=r"0\.log cannot be read"):
        list(jobs[0].logs())
    assert [one.name for one in ops.clean("0s", client=client) if one.kind == "job"] == [jobs[1].id]
    assert f"{jobs[0].id} stays" in caplog.text
