"""Other flags, looked at before they count: which jobs go elsewhere, what stands against it, and what is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import audit, flag_writer
from lyftlearn._migration.rungs import Rung, with_rungs
from lyftlearn.errors import InvalidJob
from lyftlearn.history.rows import RehearsalRow, SubmissionRow, UsageRow
from lyftlearn.history.store import History
from lyftlearn.rollout import Stage

from .records import NEW, NOW, OLD, filled, ran

FLAG = "lyftlearn-migration"
STAGES = (*map(str, Stage), "unset")


def flags(targeting: Any) -> str:
    flag = {"state": "ENABLED", "variants": {name: name for name in STAGES}, "defaultVariant": "unset"}
    return json.dumps({"flags": {FLAG: {**flag, "targeting": targeting}}})


def for_model(model: str, stage: str) -> Any:
    return {"if": [{"==": [{"var": "model"}, model]}, stage, "off"]}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The flags that count, by which every job is off, and a place for others."""
    now, other = tmp_path / "flags.json", tmp_path / "flags.new.json"
    now.write_text(flags({"if": [True, "off"]}))
    return now, other


@pytest.fixture
def client(tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    migration = {"from": OLD, "to": NEW, "flags": str(files[0])}
    return Client(config={"home": str(tmp_path), "migration": migration})


def test_a_dry_run_says_which_jobs_go_elsewhere(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """Model by model, with start-up and cost on both sides; what counts now stays as it was, byte by byte."""
    filled(journal, [ran(number, OLD) for number in range(9)] + [ran(number, NEW) for number in range(9, 11)])
    filled(journal, [ran(number, OLD, model="pricing") for number in range(4)])
    journal.record(UsageRow(job_id=f"eta-{OLD}-1", cost=2.0, currency="USD"))
    files[1].write_text(flags(for_model("eta", "live")))
    before = files[0].read_bytes()
    found = ops.migration_switch(files[1], dry_run=True, client=client)
    (eta,) = found.models
    assert (found.jobs, found.moved, found.written, found.notes) == (15, 11, False, ())
    assert (eta.model, eta.jobs, eta.stage_before, eta.stage_after) == ("eta", 11, "off", "live")
    assert (eta.backend_before, eta.backend_after) == (OLD, NEW)
    assert (eta.start_up_before, eta.start_up_after) == (20.0, 60.0)
    assert (eta.cost_before, eta.cost_after, eta.currency) == (2.0, None, "USD")
    assert files[0].read_bytes() == before


def test_what_stands_against_a_model_is_told(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """Faults that its newest rehearsal found, and that it was never rehearsed at all."""
    filled(journal, [ran(1, OLD), ran(2, OLD, model="pricing")])
    journal.record(RehearsalRow(job_id=f"eta-{OLD}-1", backend=NEW, faults=[("image", "is not there: push it")]))
    files[1].write_text(flags({"if": [True, "complete"]}))
    eta, pricing = ops.migration_switch(files[1], dry_run=True, client=client).models
    assert [(one.path, one.problem) for one in eta.against] == [("image", "is not there: push it")]
    assert (eta.unproven, pricing.unproven, pricing.against) == (False, True, ())


def test_what_another_repository_has_against_it_is_not_told(
    client: Client, journal: History, files: tuple[Path, Path]
) -> None:
    """Two teams may name a model alike."""
    for repository in ("rides/eta", "food/eta"):
        job_id, is_refused = f"{repository}-1", repository == "food/eta"
        row = SubmissionRow(
            job_id=job_id, at=NOW, repository=repository, model="eta", kind="train", stage="live", source="flag",
            backend=OLD, fell_back=is_refused, shadow_of=None,
        )  # fmt: skip
        refusal = RehearsalRow(job_id=job_id, backend=NEW, faults=[("image", "is not there")])
        journal.record(row, *([refusal] if is_refused else []))
    files[1].write_text(flags({"if": [True, "live"]}))
    found = {of.repository: of.against for of in ops.migration_switch(files[1], dry_run=True, client=client).models}
    assert ([one.path for one in found["food/eta"]], found["rides/eta"]) == (["image"], ())


def test_a_variable_that_names_no_source_is_a_fault(
    client: Client, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No configuration reads it before, and it was a traceback."""
    files[1].write_text(flags({"if": [True, "live"]}))
    monkeypatch.setenv("LYFTLEARN_FLAGS", "ftp://me:pass-7f3a@127.0.0.1/x")
    with pytest.raises(InvalidJob, match=r"LYFTLEARN_FLAGS: ftp://127\.0\.0\.1 is no source of flags") as caught:
        ops.migration_switch(files[1], dry_run=True, client=client)
    assert "pass-7f3a" not in str(caught.value)


def test_jobs_of_an_override_are_left_out(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """No flag decides about them. Shadows are no submissions."""
    filled(journal, [ran(1, OLD, source="LYFTLEARN_BACKEND", stage=None), ran(2, NEW, shadow_of=f"eta-{OLD}-1")])
    files[1].write_text(flags({"if": [True, "complete"]}))
    assert ops.migration_switch(files[1], dry_run=True, client=client).jobs == 0


def test_targeting_by_label_and_kind(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """What flags may target is what the history kept of each job."""
    rows = [ran(number, OLD, kind="train" if number % 2 else "process") for number in range(10)]
    filled(journal, rows)
    files[1].write_text(flags({"if": [{"==": [{"var": "kind"}, "process"]}, "complete", "off"]}))
    found = ops.migration_switch(files[1], dry_run=True, client=client)
    assert (found.jobs, found.moved) == (10, 5)


def test_lots_are_drawn_job_by_job(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """The autopilot moves a part of the jobs of a model: the second of the look is not that of all of them."""
    filled(journal, (ran(number, OLD) for number in range(400)))
    for path, rung in zip(files, (Rung.LIVE_10, Rung.LIVE_50), strict=True):
        path.write_text(json.dumps(with_rungs({"flags": {}}, FLAG, {("rides/eta", "eta"): rung})))
    first, again = (ops.migration_switch(files[1], dry_run=True, client=client) for _ in range(2))
    (eta,) = first.models
    assert (first.jobs, first.moved, eta.stage_before, eta.stage_after) == (400, again.moved, "rehearse", "live")
    assert 80 < first.moved < 240  # of the 160 that there are on average
    files[1].write_bytes(files[0].read_bytes())
    assert ops.migration_switch(files[1], dry_run=True, client=client).models == ()


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("{", ["is no JSON"]),
        ('{"flags": {}}', ["is not there"]),
        (flags({"if": [True, "lvie"]}), ["'lvie'"]),
        (flags({"fractional": [["live", 30], ["off", 60]]}), ["add up to 90"]),
        (flags({"if": [{"no_such": []}, "live"]}), ["cannot be evaluated"]),
        (flags({"if": [True, "gone", {"fractional": [["live", 3], ["off", 6]]}]}), ["'gone'", "add up to 9"]),
    ],
)
def test_a_broken_file_is_refused_whole(
    client: Client, files: tuple[Path, Path], text: str, problems: list[str]
) -> None:
    """One message has every fault, and the flags that count are as they were."""
    files[1].write_text(text)
    before = files[0].read_bytes()
    with pytest.raises(InvalidJob) as refusal:
        ops.migration_switch(files[1], client=client)
    said = str(refusal.value)
    assert all(problem in said for problem in [*problems, "say why the flags change"]), said
    assert files[0].read_bytes() == before


@pytest.mark.parametrize("how", [lambda other: other.unlink(missing_ok=True), lambda other: other.mkdir(), os.mkfifo])
def test_a_file_that_cannot_be_read(client: Client, files: tuple[Path, Path], how: Callable[[Path], Any]) -> None:
    """A typing error in its name is told in one sentence."""
    how(files[1])
    with pytest.raises(InvalidJob, match="cannot be read"):
        ops.migration_switch(files[1], dry_run=True, client=client)


def test_a_service_keeps_its_flags_itself(tmp_path: Path, files: tuple[Path, Path]) -> None:
    """Only a file can be replaced, and it must be another than the one that counts."""
    files[1].write_text(files[0].read_text())
    service = {"from": OLD, "to": NEW, "flags": "http://127.0.0.1:9"}
    with pytest.raises(InvalidJob, match="names a service"):
        ops.migration_switch(files[1], why="x", client=Client(config={"home": str(tmp_path), "migration": service}))


def test_flags_are_put_in_place_with_a_note(client: Client, journal: History, files: tuple[Path, Path]) -> None:
    """The file has them word by word, and the audit log says who, when, why, and what was known."""
    filled(journal, [ran(1, OLD)])
    text = flags(for_model("eta", "live")).replace("{", "{ ")
    files[1].write_text(text)
    found = ops.migration_switch(files[1], why="the pilot is over", client=client)
    assert (found.written, found.target, files[0].read_text()) == (True, str(files[0]), text)
    (change,) = audit.changes(journal)
    assert (change.who, change.why, change.state) == (audit.this_user(), "the pilot is over", "done")
    assert change.evidence is not None
    assert (change.evidence["moved"], change.evidence["models"][0]["stage_after"]) == (1, "live")
    assert ops.migration_switch(files[1], dry_run=True, client=client).models == ()


def test_flags_of_others_that_the_file_has_are_told(client: Client, files: tuple[Path, Path]) -> None:
    """The whole file is replaced: another migration, or another program, would lose its flag in silence."""
    now, other = (json.loads(flags({"if": [True, "off"]})) for _ in range(2))
    flag = now["flags"][FLAG]
    now["flags"] |= {"lyftlearn-migration-clusters": flag, "banner": flag, "kept": flag}
    other["flags"] |= {"banner": {**flag, "state": "DISABLED"}, "kept": flag, "new": flag}
    files[0].write_text(json.dumps(now))
    files[1].write_text(json.dumps(other))
    assert ops.migration_switch(files[1], dry_run=True, client=client).notes == (
        "the file's flag 'lyftlearn-migration-clusters' is not there any more",
        "the file's flag 'banner' is another",
    )


def test_whoever_wrote_meanwhile_is_not_written_over(
    client: Client, journal: History, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague saves between the look and the write: nothing is written, and the note says so."""
    files[1].write_text(flags({"if": [True, "complete"]}))
    note = audit.note

    def noting(history: History, changes: Any) -> list[int]:
        files[0].write_text(flags({"if": [True, "rehearse"]}))
        return note(history, changes)

    monkeypatch.setattr(audit, "note", noting)
    with pytest.raises(InvalidJob, match="has changed meanwhile"):
        ops.migration_switch(files[1], why="x", client=client)
    assert '"rehearse"]' in files[0].read_text()
    assert [change.state for change in audit.changes(journal)] == ["dropped"]


def test_a_process_that_dies_before_it_writes_leaves_a_note(
    client: Client, journal: History, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is whole, and whoever reads the audit log sees that something was planned."""
    files[1].write_text(flags({"if": [True, "complete"]}))
    before = files[0].read_bytes()

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flag_writer, "replace_text", dies)
    with pytest.raises(KeyboardInterrupt):
        ops.migration_switch(files[1], why="x", client=client)
    assert files[0].read_bytes() == before
    assert [change.state for change in audit.changes(journal)] == ["planned"]
