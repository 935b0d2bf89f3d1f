"""Jobs that their backends have forgotten."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn._contract import ids
from lyftlearn._storage import kept_logs
from lyftlearn.errors import JobNotFound
from lyftlearn.types import JobKind
from tests.doubles.old_and_new import Make


def forget(home: Path, job: lyftlearn.Job) -> None:
    (home / "old" / job.id).unlink()


def ended(client: lyftlearn.Client, **given: object) -> lyftlearn.Job:
    job = client.train("eta", command="true", **given)  # type: ignore[arg-type]
    assert job.wait(progress=False).status == "succeeded"
    return job


def test_a_job_that_its_backend_forgot(plugins: Path, make: Make) -> None:
    """Any process finds a job by its id, as it ended, with its outputs, long after its pods."""
    job = ended(make("off"), labels={"team": "maps"})
    forget(plugins, job)
    found = make("off").job(job.id)
    assert found == job
    assert (found.name, found.labels, found.state.status) == ("eta", {"team": "maps"}, "succeeded")
    assert found.outputs == job.outputs
    assert found.state.finished_at == job.state.finished_at
    assert found.wait(progress=False) == found.state
    with pytest.raises(JobNotFound):
        found.refresh()


def test_logs_of_a_job_that_is_gone(plugins: Path, make: Make) -> None:
    """What is kept of them is given, and it is said where it comes from; where nothing is, that is said."""
    job = ended(make("off"))
    client = make("off")
    forget(plugins, job)
    with pytest.raises(JobNotFound, match="nothing kept its log"):
        list(client.job(job.id).logs())
    storage = client._session.builder.storage
    for node in range(2):
        kept_logs.keep(storage, job.id, node, [(job.state.created_at, f"{text} of {node}") for text in ("one", "two")])
    with pytest.warns(UserWarning, match=f"what {storage.url}/logs/{job.id} has of its log") as said:
        assert sorted(client.job(job.id).logs()) == ["one of 0", "one of 1", "two of 0", "two of 1"]
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match="has of its log"):
        assert list(client.job(job.id).logs(node=1, tail=1, follow=True)) == ["two of 1"]


def test_a_job_that_is_gone_and_printed_nothing(plugins: Path, make: Make) -> None:
    """An empty log that was kept is no log that was lost."""
    job = ended(make("off"))
    client = make("off")
    forget(plugins, job)
    kept_logs.keep(client._session.builder.storage, job.id, 0, [])
    with pytest.warns(UserWarning, match="has of its log"):
        assert list(client.job(job.id).logs()) == []


def test_an_end_that_nobody_saw(plugins: Path, make: Make) -> None:
    """It is said what is known: that it was submitted."""
    job = make("off", old={"status": "running"}).train("eta", command="true")
    forget(plugins, job)
    with pytest.raises(JobNotFound, match="not how it ended"):
        make("off").job(job.id)


def test_a_job_that_nobody_knows(make: Make) -> None:
    """The backend's own answer is the answer."""
    client = make("off")
    job_id = ids.new_id("eta", JobKind.TRAIN, client._registry.letter("old"))
    with pytest.raises(JobNotFound) as caught:
        client.job(job_id)
    assert "history" not in str(caught.value)


def test_lists_have_both(plugins: Path, make: Make) -> None:
    """Each job once, newest first, whether its backend or the history knows it; conditions hold for both."""
    client = make("off")
    jobs = [ended(client, labels={"number": str(number)}) for number in range(4)]
    for job in jobs[::2]:
        forget(plugins, job)
    client = make("off")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [job.id for job in client.jobs()] == [job.id for job in reversed(jobs)]
        assert [job.id for job in client.jobs(limit=2)] == [jobs[3].id, jobs[2].id]
        assert [job.id for job in client.jobs(labels={"number": "2"})] == [jobs[2].id]
        assert [job.id for job in client.jobs(since=jobs[1].state.created_at)] == [jobs[3].id, jobs[2].id, jobs[1].id]
        assert not list(client.jobs(status="failed"))
        assert not list(client.jobs(kind="process"))


def test_a_history_in_trouble_hides_no_job(plugins: Path, make: Make) -> None:
    """What the backends keep is listed, and what is missing is named."""
    (plugins / "history.sqlite").mkdir(parents=True)
    client = make("off")
    job = ended(client)
    with pytest.warns(UserWarning, match="only the history knows are missing") as told:
        assert list(client.jobs()) == [job]
    assert told[0].filename == __file__
    forget(plugins, job)
    with pytest.raises(JobNotFound, match="history cannot be read"):
        client.job(job.id)


def test_without_a_history_nothing_changes(plugins: Path, make: Make) -> None:
    """Whoever turned it off finds what backends keep, and no file of it."""
    config = {"home": str(plugins), "backend": "old", "history": {"record": False}}
    client = lyftlearn.Client(config=config)
    job = ended(client)
    assert list(client.jobs()) == [job]
    assert not list(plugins.glob("*history*"))
    assert not list(plugins.glob("spool/*/*"))
