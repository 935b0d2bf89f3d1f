"""What `migration status` says of evidence: it ages, and what is missing is what the autopilot waits for."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import audit, page, parity_runs
from lyftlearn._migration.autopilot import Autopilot
from lyftlearn._migration.blockers import standing_problems
from lyftlearn._migration.parity_runs import ParityRun
from lyftlearn._migration.results import EvidenceOfKind, MigrationStatus, ModelEvidence
from lyftlearn._migration.rung_store import FileStore
from lyftlearn._migration.rungs import Rung, with_rungs
from lyftlearn.history.rows import ComparisonRow, RehearsalRow, SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.ops.history import no_collections
from tests.doubles.postgres import Postgres
from tests.migration.records import NEW, OLD, filled, ran

FLAG = "lyftlearn-migration"
NOW = datetime.now(UTC)
MADE_WITH = {"image": "trainer:1", "code": "c0de", "version": "1.1.0"}


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    return tmp_path / "flags.json"


@pytest.fixture
def client(tmp_path: Path, flags: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    return Client(config={"home": str(tmp_path), "migration": {"from": OLD, "to": NEW, "flags": str(flags)}})


def put(flags: Path, rung: Rung, model: str = "eta") -> None:
    flags.write_text(json.dumps(with_rungs({"flags": {}}, FLAG, {("rides/eta", model): rung})))


def submitted(number: int, backend: str = OLD, **others: Any) -> SubmissionRow:
    """A job with what it was made with."""
    told: dict[str, Any] = {"model": "eta", "kind": "train", "stage": "rehearse", "at": NOW - timedelta(minutes=number)}
    told |= {**MADE_WITH, **others}
    job_id = f"{told['model']}-{backend}-{number}"
    return SubmissionRow(job_id=job_id, backend=backend, repository="rides/eta", source="flag", **told)


def rehearsed(history: History, *rows: SubmissionRow) -> None:
    history.record(*rows, *(RehearsalRow(job_id=row.job_id, backend=NEW, faults=[]) for row in rows))


def evidence_of(client: Client, since: str | None = "30d") -> ModelEvidence:
    (model,) = ops.migration_status(since, client=client).models
    assert model.evidence is not None
    return model.evidence


def kind(evidence: ModelEvidence, name: str) -> EvidenceOfKind:
    return next(of for of in evidence.kinds if of.kind == name)


CHANGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "image": ({"image": "trainer:2"}, ("made with another image",)),
    "source": ({"code": "f00d"}, ("made with another source",)),
    "version": ({"version": "not.a-version"}, ("made with another version",)),
    "age": ({}, ("older than 30 days",)),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_evidence_turns_stale(client: Client, journal: History, flags: Path, changed: str) -> None:
    """When a job's image, source or lyftlearn is another, or after a time: the rehearsals of before count no more."""
    put(flags, Rung.REHEARSE)
    ago = timedelta(days=31 if changed == "age" else 2)
    rehearsed(journal, *(submitted(number, at=NOW - ago) for number in range(4)))
    evidence = evidence_of(client, None)
    if changed != "age":
        assert (evidence.rung, evidence.next_rung, evidence.missing) == ("rehearse", "shadow", ())
        assert kind(evidence, "rehearsal") == EvidenceOfKind(
            kind="rehearsal", fresh=4, stale=0, newest=NOW - ago, image="trainer:1", source="c0de", version="1.1.0"
        )
    journal.record(submitted(9, **CHANGES[changed][0]))
    evidence = evidence_of(client, None)
    found = kind(evidence, "rehearsal")
    assert (found.fresh, found.stale, found.stale_because) == (0, 4, CHANGES[changed][1])
    assert evidence.missing == ("3 more rehearsals with today's image and source; 4 earlier ones are stale",)


def test_status_and_autopilot_say_the_same(client: Client, journal: History, flags: Path) -> None:
    """One logic: what the status misses, the autopilot waits for, on each rung."""
    config = client._config
    rehearsed(journal, submitted(1))
    for rung in (Rung.REHEARSE, Rung.SHADOW, Rung.LIVE_10, Rung.LIVE_50, Rung.LIVE_100, Rung.COMPLETE):
        put(flags, rung)
        (step,) = Autopilot(journal, config, FileStore(flags, FLAG), lambda: False).run(dry_run=True).steps
        evidence = evidence_of(client)
        assert (evidence.rung, evidence.missing) == (rung, step.missing)
        assert bool(evidence.missing) == (rung is not Rung.COMPLETE)


def test_a_completed_model_is_not_held(client: Client, journal: History, flags: Path) -> None:
    """On the last rung it is only asked whether the new side is worse, and the page lists those on their way."""
    filled(journal, [job for number in range(6) for job in (ran(number, OLD), ran(number, NEW))])
    put(flags, Rung.LIVE_100)
    assert evidence_of(client).verdict == "inconclusive"
    assert "What is missing before the next rung" in drawn(client)
    put(flags, Rung.COMPLETE)
    evidence = evidence_of(client)
    assert (evidence.verdict, evidence.because, evidence.next_rung) == ("not found worse", (), None)
    assert "What is missing before the next rung" not in drawn(client)


def test_a_verdict_is_as_old_as_what_it_judged(client: Client, journal: History, flags: Path) -> None:
    """Jobs on the new side that ran with another image make no fresh verdict, however many they are."""
    put(flags, Rung.LIVE_10)
    filled(journal, (ran(number, NEW, at=NOW - timedelta(days=1)) for number in range(5)))
    verdict = kind(evidence_of(client), "verdict")
    assert (verdict.fresh, verdict.stale, verdict.image) == (1, 0, None)
    journal.record(submitted(9, image="trainer:2", stage="live"))
    evidence = evidence_of(client)
    verdict = kind(evidence, "verdict")
    assert (verdict.fresh, verdict.stale) == (0, 1)
    assert verdict.stale_because[0] == "made with another image"
    assert any("5 earlier ones are stale" in said for said in evidence.missing)


def test_what_comes_from_the_future_shows_nothing(client: Client, journal: History, flags: Path) -> None:
    """A machine whose clock is a year ahead neither shows anything nor makes everybody else's evidence stale."""
    put(flags, Rung.REHEARSE)
    rehearsed(journal, *(submitted(number) for number in range(3)))
    rehearsed(journal, submitted(99, at=NOW + timedelta(days=365), image="trainer:9"))
    found = kind(evidence_of(client), "rehearsal")
    assert (found.fresh, found.stale) == (3, 1)
    assert "from a clock that is ahead" in found.stale_because


def test_shadows_and_parity_runs_age_too(client: Client, journal: History, flags: Path) -> None:
    """Each with when, and with what it was made. A comparison that did not hold shows nothing."""
    put(flags, Rung.SHADOW)
    rehearsed(journal, submitted(1, stage="shadow"))
    journal.record(ComparisonRow(job_id=f"eta-{OLD}-1", shadow_id="eta-s", differences=[]))
    run = ParityRun(
        at=NOW - timedelta(hours=1), backends=[NEW, OLD], holds=True, subjects={"statsd": True}, image="trainer:1",
        source=None, version="1.1.0",
    )  # fmt: skip
    others = (replace(run, version="1.0.0"), replace(run, backends=[OLD, "local"]), replace(run, partial=True))
    for one in (run, replace(run, holds=False), *others):
        parity_runs.note(journal, one)
    evidence = evidence_of(client)
    assert (kind(evidence, "shadow").fresh, kind(evidence, "shadow").source) == (1, "c0de")
    parity = kind(evidence, "parity run")
    assert (parity.fresh, parity.stale) == (1, 3)
    stale = {"parity did not hold", "made with another version", "only some subjects were compared"}
    assert set(parity.stale_because) == stale


def test_a_second_kind_of_a_model_forgives_nothing(client: Client, journal: History, flags: Path) -> None:
    """What was worse stays down although the newest job is of another kind, which has another image."""
    put(flags, Rung.LIVE_50)
    filled(journal, (ran(number, OLD) for number in range(10, 60)))
    filled(journal, (ran(number, NEW, status="failed" if number % 2 else "succeeded") for number in range(50)))
    journal.record(submitted(1, kind="predict", image="predictor:1", at=NOW - timedelta(hours=1)))
    at = NOW + timedelta(minutes=1)

    def look() -> tuple[str, str]:
        pilot = Autopilot(journal, client._config, FileStore(flags, FLAG), lambda: False, lambda: at)
        (step,) = pilot.run().steps
        return step.action, step.rung

    assert look() == ("lower", "rehearse")
    rehearsed(journal, *(submitted(n, kind="predict", image="predictor:1", at=NOW) for n in range(2, 9)))
    at += timedelta(days=2)
    assert look() == ("hold", "rehearse")


def test_each_model_of_a_repository_is_rehearsed(tmp_path: Path, flags: Path, journal: History) -> None:
    """Ten rehearsals of one model say nothing of another that moves with it."""
    put(flags, Rung.REHEARSE, "*")
    settings = {"autopilot": {"by": "repository"}, "migration": {"from": OLD, "to": NEW, "flags": str(flags)}}
    client = Client(config={"home": str(tmp_path), **settings})
    rehearsed(journal, *(submitted(number) for number in range(10)))
    journal.record(submitted(1, model="fare"))
    found = {of.model: of.evidence for of in ops.migration_status(client=client).models}
    assert [of and of.rung for of in found.values()] == ["rehearse", "rehearse"]
    assert all(of and "3 more rehearsals" in of.missing[0] for of in found.values())
    rehearsed(journal, *(submitted(number, model="fare") for number in range(10, 14)))
    assert all(of.evidence and not of.evidence.missing for of in ops.migration_status(client=client).models)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: path.write_text("{"),
    "no flags": lambda path: path.write_text("[]"),
    "no file": Path.unlink,
    "a directory": make_directory,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_status_needs_no_flag_file(client: Client, journal: History, flags: Path, broken: str) -> None:
    """It says why it does not know the rungs, and takes those of the newest jobs."""
    put(flags, Rung.REHEARSE)
    rehearsed(journal, submitted(1))
    BROKEN[broken](flags)
    status = ops.migration_status(client=client)
    assert (status.problem is None) == (broken == "no file")
    assert evidence_of(client).rung == "rehearse"


def test_empty_or_one_sided_histories(client: Client, journal: History) -> None:
    """Nothing is shown, and nothing breaks."""
    empty = ops.migration_status(client=client)
    assert (empty.models, empty.steps, {of.shown for of in empty.workflows}) == ((), (), {"not used"})
    assert "<h1>" in drawn(client)
    filled(journal, [ran(1, NEW, stage="live")])
    evidence = evidence_of(client)
    assert (evidence.rung, evidence.verdict) == ("live-100", "no jobs")
    journal.record(submitted(1, model="odd", stage="of-a-later-version"))
    assert {of.evidence and of.evidence.rung for of in ops.migration_status(client=client).models} == {
        "live-100",
        "off",
    }


def drawn(client: Client) -> str:
    return page.page(ops.migration_report(client=client), ops.migration_status(client=client))


def test_the_page_has_rungs_evidence_and_steps(client: Client, journal: History, flags: Path) -> None:
    """And no name becomes markup."""
    rehearsed(journal, *(submitted(number, stage="off") for number in range(3)))
    journal.record(replace(submitted(9, model="fare"), repository="<script>alert(1)</script>"))
    Autopilot(journal, client._config, FileStore(flags, FLAG), lambda: False).run()
    text = drawn(client)
    for said in ("Models on each rung", "off to rehearse", "3 rehearsals", "What is shown of each kind of workflow"):
        assert said in text
    assert "<script>" not in text
    assert "&lt;script&gt;alert" in text


def test_a_change_of_a_whole_file_is_a_step(client: Client, journal: History, flags: Path) -> None:
    """The audit log has it without a model."""
    change = audit.FlagChange(at=NOW, who="ada@host", why="all clear", flags=str(flags), state=audit.ChangeState.DONE)
    audit.note(journal, [change])
    (step,) = ops.migration_status(client=client).steps
    assert (step.who, step.why, step.model, step.state) == ("ada@host", "all clear", None, "done")


def workflow(status: MigrationStatus, name: str) -> Any:
    return next(of for of in status.workflows if of.name == name)


def test_jobs_of_a_comparison_are_no_model(client: Client, journal: History) -> None:
    """They are there to measure the backends, and are in nobody's migration."""
    compared = [replace(submitted(number, backend), source="lyftlearn parity", stage=None, model="parity")
        for backend in (OLD, NEW) for number in range(3)]  # fmt: skip
    journal.record(*compared)
    assert ops.migration_status(client=client).models == ()
    assert ops.migration_report(client=client).models == ()
    assert ops.migration_guard(client=client).models == 0


@pytest.mark.slow
def test_a_status_from_postgresql(tmp_path: Path, flags: Path, postgres: Postgres) -> None:
    """A platform's history is there, and the database counts as this one does."""
    put(flags, Rung.SHADOW)
    migration = {"from": OLD, "to": NEW, "flags": str(flags)}
    made = Client(config={"home": str(tmp_path), "migration": migration, "history": {"url": postgres.url}})
    history = made._session.recorder.journal()
    long = "1.1.0+built.by.somebody.who.likes.long.names"  # longer than its column, which SQLite does not mind
    used: dict[str, Any] = {"stage": "shadow", "features": ["gpu"], "version": long}
    rehearsed(history, *(submitted(number, nodes=number, **used) for number in range(1, 4)))
    history.record(ComparisonRow(job_id=f"eta-{OLD}-1", shadow_id="eta-s", differences=[]))
    told: dict[str, Any] = {"at": NOW, "backends": [OLD, NEW], "holds": True, "subjects": {"statsd": True}}
    parity_runs.note(history, ParityRun(**told, image="trainer:1", source=None, version=long))
    (model,) = ops.migration_status(client=made).models
    assert model.evidence is not None
    fresh = {name: kind(model.evidence, name).fresh for name in ("rehearsal", "shadow", "parity run")}
    assert fresh == {"rehearsal": 3, "shadow": 1, "parity run": 1}
    found = {of.name: (of.shown, of.jobs, of.alike) for of in ops.migration_status(client=made).workflows}
    assert found["several nodes"] == ("would run there", 2, 0)
    assert found["GPU"] == found["training"] == ("would run there", 3, 1)
    assert found["metrics"] == ("alike in a parity run", 0, 0)


def check_standing_problems(history: History) -> None:
    """Two models whose problems are of one kind, one of them without a repository, and each with an older rehearsal."""
    for repository, model in (("rides/eta", "eta"), (None, "fare")):
        for number, named in ((1, f"is s3://bucket/{model}/new"), (2, f"is s3://bucket/{model}/old")):
            row = replace(submitted(number, model=model), repository=repository)
            faults = [("outputs", named), ("image", "has no digest"), ("image", "has no digest")]
            history.record(row, RehearsalRow(job_id=row.job_id, backend=NEW, faults=faults[: 4 - number]))
    rehearsed(history, submitted(3, model="fine"))
    history.record(submitted(0))
    found = standing_problems(history, NEW, NOW - timedelta(days=1))
    assert found == {
        (repository, model): [f"outputs: is s3://bucket/{model}/new", "image: has no digest"]
        for repository, model in (("rides/eta", "eta"), ("unknown", "fare"))
    }
    assert standing_problems(history, NEW, NOW) == {}


def test_each_model_is_told_its_own_problems(journal: History) -> None:
    """In the words of its newest rehearsal, each once: not in those of another model that has the same kind."""
    check_standing_problems(journal)


def test_a_server_tells_each_model_its_own_problems(postgres: Postgres) -> None:
    """As above."""
    check_standing_problems(History(postgres.url))


def test_a_status_leaves_collections_as_they_were(client: Client, journal: History) -> None:
    """They are off while it counts, which nobody is to notice, neither who has them on, nor who has them off."""
    filled(journal, [ran(1, OLD)])
    for switch, expected in ((gc.enable, True), (gc.disable, False)):
        switch()
        try:
            ops.migration_status(client=client)
            assert gc.isenabled() is expected
        finally:
            gc.enable()
    with no_collections():
        assert not gc.isenabled()
    assert gc.isenabled()
