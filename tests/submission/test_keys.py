"""What a key promises when the world is unkind: one job, the right one, and a word where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.errors import DEFINITE_REFUSALS
from tests.doubles.old_and_new import Make

ETA = {"shadow": {"models": ["eta"]}}
SIXTEEN_MINUTES = 16 * 60
ANSWERS = [
    lyftlearn.AccessDenied("forbidden: the informers have not synced"),
    lyftlearn.QuotaExceeded("used up"),
    lyftlearn.InvalidJob([("namespace", "does not exist")]),
    lyftlearn.Conflict("another has it", "eta-taaaaaaaaaaaa"),
    lyftlearn.JobNotFound("no such job"),
    lyftlearn.BackendUnavailable("connection refused"),
    lyftlearn.LyftLearnError("the exec plugin failed"),
    OSError("the token's file is gone"),
    RuntimeError("a bug of the plugin"),
]


def jobs_of(home: Path, backend: str) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in (home / backend).glob("[a-z]*")}


def all_jobs(home: Path) -> dict[str, dict[str, Any]]:
    return jobs_of(home, "old") | jobs_of(home, "new")


def claims(home: Path) -> list[Path]:
    return sorted((home / "storage" / "claims").rglob("*.json"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once what got no answer."""
    monkeypatch.setattr("lyftlearn._submission.submitter._PAUSES", (0.0, 0.0))


def answers(client: lyftlearn.Client, monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
    """Let the new backend create the job and lose the answer, and then answer with `errors`, the last one for ever."""
    backend = client._registry.get("new")
    create = backend.submit
    coming = iter(errors)
    last = errors[-1]

    def submit(plan: Any) -> Any:
        error = next(coming, last)
        if error is None:
            create(plan)
            error = lyftlearn.BackendUnavailable("reset", plan.spec.id)
        raise error

    monkeypatch.setattr(backend, "submit", submit)


@pytest.mark.parametrize("key", [None, "nightly"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_whatever_settles_a_silence_refuses_nothing(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, key: str | None, answer: Exception
) -> None:
    """The job was accepted and its answer lost: whatever is said afterwards, nobody may run it again."""
    client = make("live")
    answers(client, monkeypatch, None, answer)
    with pytest.raises(lyftlearn.BackendUnavailable) as caught:
        client.train("eta", command="true", key=key)
    assert caught.value.job_id in jobs_of(plugins, "new")
    assert jobs_of(plugins, "old") == {}
    if key is not None:
        for stage in ("off", "live", "complete"):
            assert make(stage).train("eta", command="true", key=key).id == caught.value.job_id
        assert len(all_jobs(plugins)) == 1


@pytest.mark.parametrize("key", [None, "nightly"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_only_a_known_refusal_falls_back(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, key: str | None, answer: Exception
) -> None:
    """An error that nobody has thought of may have come after the job was accepted."""
    client = make("live")
    answers(client, monkeypatch, answer)
    if isinstance(answer, DEFINITE_REFUSALS):
        assert client.train("eta", command="true", key=key).id in jobs_of(plugins, "old")
    else:
        with pytest.raises((lyftlearn.BackendUnavailable, lyftlearn.Conflict)):
            client.train("eta", command="true", key=key)
        assert all_jobs(plugins) == {}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_unknown_error_holds_the_key_over_a_flip(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    """A create that committed, and then failed with something that is no known refusal, is found after the flip."""
    client = make("complete")
    backend = client._registry.get("new")
    create = backend.submit

    def submit(plan: Any) -> Any:
        create(plan)
        raise answer

    monkeypatch.setattr(backend, "submit", submit)
    if isinstance(answer, (*DEFINITE_REFUSALS, lyftlearn.Conflict, lyftlearn.BackendUnavailable)):
        return  # a backend that lies
    with pytest.raises(lyftlearn.BackendUnavailable) as caught:
        client.train("eta", command="true", key="nightly")
    assert make("off").train("eta", command="true", key="nightly").id == caught.value.job_id
    assert len(all_jobs(plugins)) == 1


@pytest.mark.parametrize("stage", ["live", "complete"])
@pytest.mark.parametrize("new", [{"refuses_plans": True}, {"kinds": ["process"]}], ids=["fault", "kind"])
def test_a_key_is_looked_up_before_the_plan_is_judged(plugins: Path, make: Make, stage: str, new: Any) -> None:
    """The job with this key exists: that the backend of today could not take it is no news to its caller."""
    first = make("off").train("eta", command="true", key="nightly")
    assert make(stage, new=new).train("eta", command="true", key="nightly") == first


def test_a_plan_with_faults_leaves_the_key_free(plugins: Path, make: Make) -> None:
    """What was refused before anything was sent holds nothing."""
    with pytest.raises(lyftlearn.InvalidJob, match="not allowed here"):
        make("complete", new={"refuses_plans": True}).train("eta", command="true", key="nightly")
    assert make("off").train("eta", command="false", key="nightly").id in jobs_of(plugins, "old")


def test_a_fall_back_sends_what_was_read_first(
    plugins: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that changes while the new side refuses is not run under the digest of what it was."""
    source = tmp_path / "code"
    source.mkdir()
    (source / "train.py").write_text("print('one')")
    client = make("live")
    new = client._registry.get("new")

    def refuse(_: Any) -> Any:
        (source / "train.py").write_text("print('two, and longer')")
        raise lyftlearn.QuotaExceeded("used up")

    monkeypatch.setattr(new, "submit", refuse)
    client.train("eta", command="true", source=source, key="nightly")
    (job,) = jobs_of(plugins, "old").values()
    packed = (plugins / "storage" / "sources" / f"{job['source']}.tar.gz").read_bytes()
    (source / "train.py").write_text("print('one')")
    make("off").train("eta", command="true", source=source)
    sources = {one["source"] for one in jobs_of(plugins, "old").values()}
    assert len(sources) == 1, "the fall back sent the second version"
    assert packed


def test_nobody_is_handed_anothers_job(plugins: Path, make: Make) -> None:
    """An accepted claim whose job has other arguments, as after a store was restored, is a Conflict and no handle."""
    job = make("off").train("eta", command="echo OTHER", key="nightly")
    path = plugins / "old" / job.id
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": "0" * 64}))
    with pytest.raises(lyftlearn.Conflict) as caught:
        make("off").train("eta", command="echo OTHER", key="nightly")
    assert caught.value.job_id == job.id


def test_a_backend_that_returns_another_job_is_refused(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that settles by the name alone must not make the promise worthless."""
    other = make("off").train("eta", command="echo OTHER")
    client = make("off")
    old = client._registry.get("old")
    monkeypatch.setattr(old, "submit", lambda _: old.describe(other.id))
    with pytest.raises(lyftlearn.Conflict):
        client.train("eta", command="echo MINE", key="nightly")


@pytest.mark.parametrize("where", ["plan", "capabilities", "unmet", "upload"])
@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_a_call_that_breaks_before_it_sends_holds_no_key(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    """A fault of a plugin, or Ctrl-C while a large source is sent: the next call must not wait for nobody."""

    def breaks(*_: Any, **__: Any) -> Any:
        raise error

    client = make("live")
    with monkeypatch.context() as patch:
        if where == "upload":
            patch.setattr("lyftlearn._submission.submitter.JobSubmitter.upload", breaks)
        else:
            patch.setattr(client._registry.get("new"), where, breaks)
        with pytest.raises(type(error)):
            client.train("eta", command="true", key="nightly")
    assert [json.loads(path.read_text())["tries"] for path in claims(plugins)] == [[]]
    job = make("off").train("eta", command="true", key="nightly")
    assert list(all_jobs(plugins)) == [job.id] == list(jobs_of(plugins, "old"))


@pytest.mark.parametrize("returned", [None, {}, "eta-x", True])
def test_a_backend_that_returns_no_record_has_said_nothing(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, returned: object
) -> None:
    """The job may run: whoever called learns its id, and the key stays with it."""
    client = make("live")
    new = client._registry.get("new")
    submit = new.submit
    monkeypatch.setattr(new, "submit", lambda plan: (submit(plan), returned)[1])
    with pytest.raises(lyftlearn.BackendUnavailable, match="no record of a job") as caught:
        client.train("eta", command="true", key="nightly")
    job = make("off").train("eta", command="true", key="nightly")
    assert caught.value.job_id == job.id
    assert list(all_jobs(plugins)) == [job.id]


def test_a_claim_that_went_to_other_arguments_meanwhile(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused caller whose key another caller took, with other arguments, is told so and not given that job."""
    client = make("live")
    new = client._registry.get("new")
    other: list[lyftlearn.Job] = []

    def refuse(_: Any) -> Any:
        if not other:
            for path in claims(plugins):
                path.unlink()
            other.append(make("off").train("eta", command="echo OTHER", key="nightly"))
        raise lyftlearn.QuotaExceeded("used up")

    monkeypatch.setattr(new, "submit", refuse)
    with pytest.raises(lyftlearn.LyftLearnError) as caught:
        client.train("eta", command="echo MINE", key="nightly")
    assert isinstance(caught.value, lyftlearn.Conflict | lyftlearn.QuotaExceeded)
    assert [job["command"][-1] for job in all_jobs(plugins).values()] == ["echo OTHER"]


DIES = """
import json, sys
import lyftlearn
lyftlearn.Client(config=json.loads(sys.argv[1])).train("eta", command="true", key="nightly")
"""


def died(home: Path, stage: str, when: str) -> None:
    """Let a caller with the key die before or after its create on the new side."""
    config: dict[str, Any] = {"home": str(home), "project": "tests", "old": {}, "new": {"faults": {when: 1}}}
    config["migration"] = {"from": "old", "to": "new", "stage": stage}
    command = [sys.executable, "-c", DIES, json.dumps(config)]
    assert subprocess.run(command, env=os.environ, check=False, timeout=600).returncode == 17


def age(home: Path, seconds: float) -> None:
    """Make every claim older, by the clock of the store."""
    for path in claims(home):
        then = time.time() - seconds
        os.utime(path, (then, then))


def test_a_key_on_a_backend_that_is_not_installed_any_more(plugins: Path, make: Make) -> None:
    """Its job may have run there: nothing is sent elsewhere, and whoever calls learns what can be done."""
    job = make("complete").train("eta", command="true", key="nightly")
    points = plugins.parent / "site" / "stores-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("new = stores:create", "other = stores:create"))
    config = {"home": str(plugins), "project": "tests", "backend": "old"}
    for _ in range(2):
        with pytest.raises(lyftlearn.LyftLearnError) as caught:
            lyftlearn.Client(config=config).train("eta", command="true", key="nightly")
        for part in ("'nightly'", job.id, "'new'", "not installed", "take another key", "claims/tests/"):
            assert part in str(caught.value)
    assert jobs_of(plugins, "old") == {}


@pytest.mark.parametrize("stage", ["off", "live", "complete"])
def test_a_key_of_the_dead_is_freed_in_time(plugins: Path, make: Make, stage: str) -> None:
    """Its caller died before the create, and the new side refuses: after a while this is no doubt any more."""
    died(plugins, "live", "die_before")
    refusing = make(stage, new={"faults": {"refuse": 1}})
    with pytest.raises(lyftlearn.QuotaExceeded):
        refusing.train("eta", command="true", key="nightly")
    assert all_jobs(plugins) == {}
    age(plugins, SIXTEEN_MINUTES)
    if stage == "complete":
        with pytest.raises(lyftlearn.QuotaExceeded):
            refusing.train("eta", command="true", key="nightly")
        stage = "off"
    job = make(stage, new={"faults": {"refuse": 1}}).train("eta", command="true", key="nightly")
    assert list(jobs_of(plugins, "old")) == [job.id]
    assert len(all_jobs(plugins)) == 1


def test_a_job_of_the_dead_that_is_there_holds_its_key(plugins: Path, make: Make) -> None:
    """However old the try: what was accepted has run, and a refusal of its repetition moves nothing."""
    died(plugins, "live", "die_after")
    age(plugins, SIXTEEN_MINUTES)
    with pytest.raises(lyftlearn.QuotaExceeded):
        make("off", new={"faults": {"refuse": 1}}).train("eta", command="true", key="nightly")
    assert jobs_of(plugins, "old") == {}
    (found,) = jobs_of(plugins, "new")
    assert make("off").train("eta", command="true", key="nightly").id == found


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"{}",
        b'{"format": 1}',
        {"id": "../../../../tmp/x"},
        {"id": 5},
        {"id": "eta/../../x"},
        {"backend": "../x"},
        {"backend": None},
        {"backend": ["old"]},
        {"digest": None},
        {"state": "perhaps"},
        {"state": []},
        {"tries": "abc"},
        {"tries": [1]},
        {"tries": None},
        {"since": "yesterday"},
        {"since": 5},
        {"tries": ["a"], "opened": 5},
        {"tries": ["a"], "opened": {"a": "yesterday"}},
        {"format": [1]},
    ],
    ids=str,
)
def test_a_damaged_claim_is_named(plugins: Path, make: Make, damage: Any) -> None:
    """Others can write to the storage: what stands there is an error with a remedy, never a traceback or a path."""
    make("off").train("eta", command="true", key="nightly")
    (path,) = claims(plugins)
    whole = json.loads(path.read_text())
    path.write_bytes(damage if isinstance(damage, bytes) else json.dumps(whole | damage).encode())
    before = set(plugins.parent.rglob("*"))
    with pytest.raises(lyftlearn.LyftLearnError) as caught:
        make("off").train("eta", command="true", key="nightly")
    assert type(caught.value) in (lyftlearn.LyftLearnError, lyftlearn.Conflict)
    assert {found for found in plugins.parent.rglob("*") if found.is_dir()} <= before | {plugins.parent}


def drained(client: lyftlearn.Client) -> None:
    assert client._session.recorder.drain(120)


@pytest.mark.parametrize("state", ["intended", "accepted"])
@pytest.mark.parametrize(
    "other", ["zzz-tkaaaaaaaaaaa", "eta-pxaaaaaaaaaaa", "a-plain-name", "another key's", "another kind's"]
)
def test_a_claim_with_the_id_of_another_call_is_damaged(plugins: Path, make: Make, state: str, other: str) -> None:
    """As after a copy between stores: a second job ran under that id, or its caller had a handle on another's job."""
    job = make("live").train("eta", command="true", key="nightly")
    (claim,) = claims(plugins)
    if other == "another key's":
        other = make("live").train("eta", command="true", key="other").id
    if other == "another kind's":
        other = job.id.replace("eta-t", "eta-p")
    document = json.loads(claim.read_text()) | {"id": other, "state": state}
    claim.write_text(json.dumps(document | ({"tries": ["x"]} if state == "intended" else {})))
    before = all_jobs(plugins).keys()
    for stage in ("off", "live", "complete"):
        with pytest.raises(
            lyftlearn.LyftLearnError, match=r"is damaged \(.* is the id of another call\): delete the claim"
        ):
            make(stage).train("eta", command="true", key="nightly")
    assert all_jobs(plugins).keys() == before


def test_a_repeated_key_starts_no_shadow(plugins: Path, make: Make) -> None:
    """The flag may say `off` by now: whoever only repeats the call adds nothing that costs."""
    first = make("shadow")
    job = first.train("eta", command="true", key="nightly")
    drained(first)
    assert jobs_of(plugins, "new") == {}
    for stage in ("off", "shadow", "rehearse"):
        client = make(stage, **ETA)
        assert client.train("eta", command="true", key="nightly") == job
        drained(client)
    assert jobs_of(plugins, "new") == {}


def test_the_share_of_shadows_is_drawn_once(plugins: Path, make: Make) -> None:
    """However often a call is repeated, a job is of the share or not; a larger share only adds jobs."""
    shadowed: list[set[str]] = []
    for share in (0.3, 0.6):
        client = make("shadow", shadow={"models": ["eta"], "share": share, "at_most": 100})
        for number in range(24):
            for _ in range(2):
                client.train("eta", command="true", key=f"{share}-{number}")
        drained(client)
    from lyftlearn._migration import recorder

    ids = list(jobs_of(plugins, "old"))
    shadowed = [{job_id for job_id in ids if recorder._lot(job_id) < share} for share in (0.3, 0.6)]
    assert shadowed[0] < shadowed[1]
    assert 8 <= len(jobs_of(plugins, "new")) <= 34


SHADOW_DIES = """
import json, os, sys
import lyftlearn
from lyftlearn._migration import recorder
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
where = sys.argv[2]
journal = client._session.history.open()
if where == "after the slot":
    record = journal.record_in_slot
    journal.record_in_slot = lambda *given: record(*given) and os._exit(17)
else:
    client._registry.get("new").submit = lambda plan: os._exit(17)
client.train("eta", command="true")
client._session.recorder.drain(120)
os._exit(1)
"""


@pytest.mark.parametrize("where", ["after the slot", "before the create"])
def test_a_slot_of_the_dead_is_free_again(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A process that dies with a slot must not take it along: after a few there would be no shadows, in silence."""
    from datetime import timedelta

    migration = {"from": "old", "to": "new", "stage": "shadow", "shadow": {"models": ["eta"], "at_most": 1}}
    config = {"home": str(plugins), "project": "tests", "migration": migration, "old": {}, "new": {}}
    command = [sys.executable, "-c", SHADOW_DIES, json.dumps(config), where]
    assert subprocess.run(command, env=os.environ, check=False, timeout=600).returncode == 17
    monkeypatch.setattr("lyftlearn.history.settle._VISIBLE_AFTER", timedelta())
    client = make("shadow", shadow=migration["shadow"])
    client.train("eta", command="true")
    drained(client)
    assert len(jobs_of(plugins, "new")) == 1


def test_a_slot_without_a_row_is_free(plugins: Path, make: Make) -> None:
    """Version 1.0.0 took slots and wrote rows apart; what it left behind must not hold a slot for ever."""
    import sqlalchemy as sa

    client = make("shadow", shadow={"models": ["eta"], "at_most": 1})
    journal = client._session.recorder.journal()
    with journal.connection() as connection:
        connection.execute(sa.text("insert into shadow_slots values (0, 'eta-tnaaaaaaaaaaa')"))
    client.train("eta", command="true")
    drained(client)
    assert len(jobs_of(plugins, "new")) == 1
