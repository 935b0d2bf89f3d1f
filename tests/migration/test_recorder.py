"""Beside a submission: what a rehearsal records, what a shadow may do, and that the caller sees nothing of either."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import lyftlearn
from lyftlearn import ops
from lyftlearn._migration.results import MigrationStatus, ReadinessReport, ShadowComparison
from lyftlearn.errors import BackendUnavailable, LyftLearnError
from lyftlearn.history.tables import comparisons, jobs
from tests.doubles.old_and_new import Make

ETA = {"shadow": {"models": ["eta"]}}


def jobs_of(home: Path, backend: str) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in (home / backend).glob("[a-z]*")}


def settled(client: lyftlearn.Client) -> MigrationStatus:
    """Let the background finish, and ask for the status, which settles what has ended."""
    assert client._session.recorder.drain(120)
    return ops.migration_status(client=client)


def rehearsed(client: lyftlearn.Client) -> ReadinessReport:
    return ops.migration_report(client=client)


def test_a_rehearsal_records_reasons_and_sends_nothing(plugins: Path, make: Make) -> None:
    """The whole point: what stands against the new backend is known before any job depends on it."""
    client = make("rehearse", new={"refuses_plans": True})
    job = client.train("eta", command="true")
    (reason,) = rehearsed(client).reasons
    assert (reason.path, reason.problem) == ("image", "is not allowed here: take another")
    assert (reason.count, reason.models, reason.standing) == (1, ("eta",), True)
    assert list(jobs_of(plugins, "old")) == [job.id]
    assert jobs_of(plugins, "new") == {}


def test_a_kind_that_the_new_side_lacks(plugins: Path, make: Make) -> None:
    """A backend that cannot process at all says so in the report, not on the day of the move."""
    client = make("rehearse", old={"kinds": ["train", "process"]})
    client.process("clean", command="true")
    (found,) = rehearsed(client).models
    assert (found.model, found.rehearsed, found.would_have_run) == ("clean", 1, 0)
    (reason,) = found.reasons
    assert reason.path == "kind"
    assert "new" in reason.problem


def test_a_job_that_would_have_run(plugins: Path, make: Make) -> None:
    """Nothing against it: counted as ready, and still not sent."""
    client = make("rehearse")
    client.train("eta", command="true")
    (found,) = rehearsed(client).models
    assert (found.submissions, found.rehearsed, found.would_have_run, found.reasons) == (1, 1, 1, ())
    assert jobs_of(plugins, "new") == {}


@pytest.mark.parametrize("failure", [LyftLearnError("no credentials"), RuntimeError("a bug of the plugin")])
def test_a_backend_that_breaks_over_a_job(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A new side that cannot even plan is a reason like any other, and never the caller's error."""
    client = make("rehearse")

    def plan(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(client._registry.get("new"), "plan", plan)
    assert client.train("eta", command="true").status == "succeeded"
    (reason,) = rehearsed(client).reasons
    assert str(failure) in reason.problem


def test_a_reason_that_is_gone_no_longer_stands(plugins: Path, make: Make) -> None:
    """A report shows what is left to do: a reason that the newest rehearsal does not find is history."""
    for new in ({"refuses_plans": True}, {}):
        client = make("rehearse", new=new)
        client.train("eta", command="true")
        assert client._session.recorder.drain(120)
    (reason,) = rehearsed(client).reasons
    assert (reason.count, reason.standing) == (1, False)


def test_nothing_is_rehearsed_in_other_stages(plugins: Path, make: Make) -> None:
    """Only `rehearse` and `shadow` look at the other side; every stage is journalled."""
    for stage in ("off", "live", "complete"):
        client = make(stage)
        client.train("eta", command="true")
        assert client._session.recorder.drain(120)
    (found,) = rehearsed(client).models
    assert (found.submissions, found.ran_there, found.rehearsed) == (3, 2, 0)


@pytest.mark.parametrize(
    ("declared", "runs"),
    [
        ({}, False),
        ({"models": ["pricing"]}, False),
        ({"models": ["eta"]}, True),
        ({"labels": {"shadow": "safe"}}, True),
        ({"labels": {"shadow": "other"}}, False),
        ({"models": ["eta"], "share": 0.0}, False),
        ({"models": ["eta"], "at_most": 0}, False),
    ],
)
def test_only_declared_jobs_run_twice(plugins: Path, make: Make, declared: Any, runs: bool) -> None:
    """A second run of a job that writes somewhere is an accident: somebody must have said that it is safe."""
    client = make("shadow", shadow=declared)
    client.train("eta", command="true", labels={"shadow": "safe"})
    assert client._session.recorder.drain(120)
    assert len(jobs_of(plugins, "new")) == runs


def test_a_shadow_is_marked_and_its_outputs_are_apart(plugins: Path, make: Make, tmp_path: Path) -> None:
    """Also an output that has a place of its own stays untouched, and the shadow's metrics reach nobody."""
    both = {"kinds": ["process"], "writes": "the same"}
    client = make("shadow", old=both | {"writes": "the job's"}, new=both, shadow={"models": ["clean"]})
    place = tmp_path / "table"
    job = client.process("clean", command="true", outputs={"rows": place.as_uri(), "stats": None})
    assert client._session.recorder.drain(120)
    ((shadow_id, shadow),) = jobs_of(plugins, "new").items()
    assert shadow["labels"] == {"lyftlearn/shadow": job.id}
    assert shadow["metrics"] == {"relay": True, "gateway": None, "socket": None}
    assert (place / "made").read_text() == "the job's"
    assert all(shadow_id in uri for uri in shadow["outputs"].values())
    assert json.loads(shadow["decision"])["reason"] == f"shadow of {job.id}"


def test_the_caller_has_the_first_job_only(plugins: Path, make: Make) -> None:
    """What a call returns, waits for, downloads and lists is the job on the old side; whoever asks finds its shadow."""
    client = make("shadow", **ETA)
    job = client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    assert job.id in jobs_of(plugins, "old")
    assert job.wait().status == "succeeded"
    assert all("/old" not in uri and job.id in uri for uri in job.outputs.values())
    assert [found.id for found in client.jobs()] == [job.id]
    (shadow,) = client.jobs(labels={"lyftlearn/shadow": job.id})
    assert shadow.id in jobs_of(plugins, "new")
    assert shadow.labels == {"lyftlearn/shadow": job.id}


@pytest.mark.parametrize("kind", ["refuse", "silence_before", "silence_after"])
def test_a_shadow_that_fails_is_nobodys_failure(
    plugins: Path, make: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's job ends as it would have; that the shadow was refused is in the journal."""
    monkeypatch.setattr("lyftlearn._submission.submitter._PAUSES", (0.0,))
    client = make("shadow", new={"faults": {kind: 1}}, **ETA)
    assert client.train("eta", command="true").wait().status == "succeeded"
    shadow = settled(client).total.shadow
    assert (shadow.jobs, shadow.refused) == (1, kind == "refuse")


def test_a_key_that_is_repeated_makes_no_second_shadow(plugins: Path, make: Make) -> None:
    """A cron that repeats its call after every doubt pays for one shadow."""
    for _ in range(3):
        client = make("shadow", **ETA)
        client.train("eta", command="true", key="nightly")
        assert client._session.recorder.drain(120)
    assert len(jobs_of(plugins, "new")) == 1


def test_a_job_of_another_stage_gets_no_shadow_when_its_key_is_repeated(plugins: Path, make: Make) -> None:
    """A job from before the flip may be a month old: its double would be compared with another world."""
    make("off", **ETA).train("eta", command="true", key="nightly")
    client = make("shadow", **ETA)
    client.train("eta", command="true", key="nightly")
    assert client._session.recorder.drain(120)
    assert jobs_of(plugins, "new") == {}


SHADOWER = """
import json, sys
import lyftlearn
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
for _ in range(5):
    client.train("eta", command="true")
assert client._session.recorder._background.drain(120)
"""


def test_no_more_than_so_many_at_once(plugins: Path, make: Make) -> None:
    """The bound holds over all processes that share a journal, for it is a bound on cost; an end frees a place."""
    new = {"status": "running"}
    migration = {"from": "old", "to": "new", "stage": "shadow", "shadow": {"models": ["eta"], "at_most": 2}}
    config = {"home": str(plugins), "project": "tests", "migration": migration, "old": {}, "new": new}
    running = [subprocess.Popen([sys.executable, "-c", SHADOWER, json.dumps(config)]) for _ in range(3)]
    assert [process.wait(timeout=600) for process in running] == [0, 0, 0]
    assert len(jobs_of(plugins, "new")) == 2
    client = make("shadow", shadow=migration["shadow"])
    client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    assert len(jobs_of(plugins, "new")) == 3


def compared(make: Make, old: str, new: str, **migration: Any) -> ShadowComparison:
    client = make("shadow", old={"writes": old}, new={"writes": new}, **ETA, **migration)
    client.train("eta", command="true")
    (found,) = settled(client).total.comparisons
    return found


def test_artifacts_with_the_same_bytes_do_not_differ(plugins: Path, make: Make) -> None:
    """A migration that nobody notices gives the same bytes, and the journal says that it did."""
    assert compared(make, "model", "model").differences == ()


def test_artifacts_with_other_bytes_are_named(plugins: Path, make: Make) -> None:
    """Whoever looks into a difference starts with the file that differs."""
    assert compared(make, "model", "other").differences == ("output/made: other bytes",)


def test_a_models_own_comparison_decides(plugins: Path, make: Make, tmp_path: Path) -> None:
    """Models of a random nature are never equal byte by byte: their owners know what equal is, and say what is not."""
    judge = tmp_path / "judge"
    judge.write_text(
        '#!/bin/sh\ncat "$1/output/made" "$2/output/made" | grep -q bad && echo "rmse 3 and 9" && exit 1\nexit 0\n'
    )
    judge.chmod(0o755)
    table = {"compare": {"eta": str(judge)}}
    assert compared(make, "model", "other", **table).differences == ()


def test_a_models_own_comparison_may_say_no(plugins: Path, make: Make, tmp_path: Path) -> None:
    """Its words are the difference."""
    table = {"compare": {"eta": "sh -c 'echo rmse 3 and 9; exit 1'"}}
    assert compared(make, "model", "other", **table).differences == (f"{table['compare']['eta']}: rmse 3 and 9",)


@pytest.mark.parametrize("command", ["/nowhere/judge", "'unbalanced"])
def test_a_comparison_that_cannot_be_run_says_so(plugins: Path, make: Make, command: str) -> None:
    """A typing mistake in configuration is no likeness."""
    (difference,) = compared(make, "model", "model", compare={"eta": command}).differences
    assert "could not be run" in difference


def test_other_ends_are_a_difference(plugins: Path, make: Make) -> None:
    """A job that succeeds here and fails there is what a shadow is for."""
    client = make("shadow", new={"status": "failed"}, **ETA)
    client.train("eta", command="true")
    (found,) = settled(client).total.comparisons
    assert found.differences == ("status: succeeded and failed",)


def test_what_cannot_be_asked_now_is_asked_the_next_time(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is away hides nothing for ever, and keeps nobody from what the other one knows."""
    client = make("shadow", old={"writes": "model"}, new={"writes": "model"}, **ETA)
    client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    new = client._registry.get("new")

    def away(*_: Any) -> Any:
        raise BackendUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(new, "describe", away)
        status = ops.migration_status(client=client)
        assert (status.total.old.succeeded, status.unsettled) == (1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(new, "outputs", away)
        status = ops.migration_status(client=client)
        assert (status.total.shadow.succeeded, status.total.comparisons) == (1, ())
    (found,) = ops.migration_status(client=client).total.comparisons
    assert found.differences == ()


def test_a_shadow_has_the_code_of_its_job(
    plugins: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that changes between the call and the background's turn would make the comparison one of two jobs."""
    source = tmp_path / "code"
    source.mkdir()
    (source / "train.py").write_text("print(1)")
    client = make("shadow", **ETA)
    beside = client._session.recorder
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(beside._background, "do", waiting.append)
    client.train("eta", command="true", source=source, key="nightly")
    (source / "train.py").write_text("print('two')")
    for task in waiting:
        task()
    (job,), (shadow,) = jobs_of(plugins, "old").values(), jobs_of(plugins, "new").values()
    assert shadow["digest"] == job["digest"]
    assert shadow["source"] == job["source"]


def test_the_journal_of_a_shadow_names_its_job(plugins: Path, make: Make) -> None:
    """Shares and rates leave shadows out, and comparisons find the pair, because the journal knows which is which."""
    client = make("shadow", **ETA)
    job = client.train("eta", command="true")
    status = settled(client)
    rows = client._session.recorder.journal().select(sa.select(jobs).where(jobs.c.shadow_of == job.id))
    assert [row["backend"] for row in rows] == ["new"]
    assert (status.total.share, status.total.new.jobs, status.total.shadow.jobs) == (0.0, 0, 1)
    assert client._session.recorder.journal().select(sa.select(comparisons))


SUBMITS = """
import json, sys
import lyftlearn, lyftlearn.history.background
lyftlearn.history.background._SECONDS_TO_FINISH = 120.0
lyftlearn.Client(config=json.loads(sys.argv[1])).train("eta", command="true")
"""
POOLED = """
from concurrent.futures import ThreadPoolExecutor
import stores

class Pooled(stores.FileBackend):
    def submit(self, plan):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().submit, plan).result()

create = Pooled
"""


def test_a_process_that_ends_at_once_still_shadows(plugins: Path) -> None:
    """A script submits and ends; SDKs send with thread pools, which an ending interpreter refuses."""
    site = plugins.parent / "site"
    (site / "pooled.py").write_text(POOLED)
    points = site / "stores-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("new = stores:create", "new = pooled:create"))
    migration = {"from": "old", "to": "new", "stage": "shadow", **ETA}
    config = {"home": str(plugins), "project": "tests", "migration": migration}
    argv = [sys.executable, "-c", SUBMITS, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)
    assert ran.stderr == ""
    assert len(jobs_of(plugins, "new")) == 1


DYING = """
import os, signal, stores

class Dying(stores.FileBackend):
    def {method}(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)

create = Dying
"""


@pytest.mark.parametrize(("method", "stage"), [("plan", "rehearse"), ("submit", "shadow")])
def test_what_a_dead_process_had_under_way_is_told(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, method: str, stage: str
) -> None:
    """A report that left such jobs out would call a migration ready that nobody has looked at."""
    site = plugins.parent / "site"
    (site / "dying.py").write_text(DYING.format(method=method))
    points = site / "stores-1.0.dist-info" / "entry_points.txt"
    sound = points.read_text()
    points.write_text(sound.replace("new = stores:create", "new = dying:create"))
    config = {
        "home": str(plugins),
        "project": "tests",
        "migration": {"from": "old", "to": "new", "stage": stage, **ETA},
    }
    ran = subprocess.run([sys.executable, "-c", SUBMITS, json.dumps(config)], timeout=600, check=False)
    assert ran.returncode == -signal.SIGKILL
    points.write_text(sound)
    client = make(stage, **ETA)
    report = rehearsed(client)
    assert (report.models[0].submissions, report.models[0].rehearsed, report.lost) == (1, 0, 0)
    monkeypatch.setattr("lyftlearn._migration.analysis._LONGEST_REHEARSAL", timedelta())
    assert rehearsed(client).lost == 1
    client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    assert rehearsed(client).lost == 1
