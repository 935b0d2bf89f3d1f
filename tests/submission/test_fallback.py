"""Live with fallback: to the old backend only where the new one certainly did not accept the job; never two jobs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from tests.doubles.old_and_new import Make

REFUSES = {"faults": {"refuse": 1}}
SILENT_BEFORE, SILENT_AFTER = {"faults": {"silence_before": 1}}, {"faults": {"silence_after": 1}}


def jobs_of(home: Path, backend: str) -> list[str]:
    return sorted(path.name for path in (home / backend).glob("[a-z]*"))


def decision_of(home: Path, backend: str) -> dict[str, Any]:
    (name,) = jobs_of(home, backend)
    found: dict[str, Any] = json.loads(json.loads((home / backend / name).read_text())["decision"])
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once what got no answer."""
    monkeypatch.setattr("lyftlearn._submission.submitter._PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("key", [None, "nightly"])
@pytest.mark.parametrize("new", [REFUSES, {"refuses_plans": True}], ids=["quota", "plan"])
def test_a_refused_live_job_runs_on_the_old_backend(plugins: Path, make: Make, key: str | None, new: Any) -> None:
    """A quota or a plan fault of the new side costs nobody a job; the job says why it is where it is."""
    job = make("live", new=new).train("eta", command="true", key=key)
    assert jobs_of(plugins, "new") == []
    assert jobs_of(plugins, "old") == [job.id]
    decision = decision_of(plugins, "old")
    assert decision["fell_back"]
    assert "new refused" in decision["reason"]


@pytest.mark.parametrize("stage", ["complete", "live"])
def test_nothing_falls_back_without_the_stage_for_it(plugins: Path, make: Make, stage: str) -> None:
    """Once a migration is complete, the old side is nobody's safety net; and what both refuse is refused."""
    old = {} if stage == "complete" else REFUSES
    with pytest.raises(lyftlearn.QuotaExceeded):
        make(stage, new=REFUSES, old=old).train("eta", command="true")
    assert jobs_of(plugins, "old") == jobs_of(plugins, "new") == []


@pytest.mark.parametrize("key", [None, "nightly"])
@pytest.mark.parametrize("new", [SILENT_BEFORE, SILENT_AFTER], ids=["before", "after"])
def test_silence_is_no_refusal(plugins: Path, make: Make, key: str | None, new: Any) -> None:
    """A connection that broke may have been broken after the job was accepted: nobody may run it elsewhere."""
    with pytest.raises(lyftlearn.BackendUnavailable) as caught:
        make("live", new=new).train("eta", command="true", key=key)
    assert caught.value.job_id is not None
    assert jobs_of(plugins, "old") == []


def test_a_refusal_after_a_silence_is_no_refusal(plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try may have been accepted: that the second was refused proves nothing about it."""
    client = make("live")
    answers = iter([lyftlearn.BackendUnavailable("reset", "some-id"), *[lyftlearn.QuotaExceeded("used up")] * 9])

    def submit(*_: Any) -> Any:
        raise next(answers)

    monkeypatch.setattr(client._registry.get("new"), "submit", submit)
    with pytest.raises(lyftlearn.BackendUnavailable, match="used up"):
        client.train("eta", command="true")
    assert jobs_of(plugins, "old") == []


def test_a_keyed_repetition_after_a_flip_finds_the_first(plugins: Path, make: Make) -> None:
    """The claim pins the backend: a cron's second call after a flip, in either direction, is the same job."""
    for first, second in (("off", "complete"), ("complete", "off"), ("live", "off")):
        one = make(first).train("eta", command="true", key=f"{first}-{second}")
        other = make(second).train("eta", command="true", key=f"{first}-{second}")
        assert other.id == one.id


def test_a_refused_key_is_free_again(plugins: Path, make: Make) -> None:
    """A job that was certainly refused has not run: the next call with its key may."""
    with pytest.raises(lyftlearn.QuotaExceeded):
        make("complete", new=REFUSES).train("eta", command="true", key="nightly")
    assert make("off").train("eta", command="true", key="nightly").status == "succeeded"


def test_other_arguments_conflict_on_either_side(plugins: Path, make: Make) -> None:
    """A flip does not make a used key new."""
    first = make("off").train("eta", command="true", key="nightly")
    with pytest.raises(lyftlearn.Conflict) as caught:
        make("complete").train("eta", command="false", key="nightly")
    assert caught.value.job_id == first.id


def test_ids_route_after_a_flip_and_jobs_merges_both_sides(plugins: Path, make: Make) -> None:
    """A running job is found by its id and in the list, wherever the flag points now."""
    before = make("off").train("eta", command="true")
    after = make("complete").train("eta", command="true")
    for stage in ("off", "complete"):
        assert make(stage).job(before.id) == before
        assert {job.id for job in make(stage).jobs()} == {before.id, after.id}


def test_a_side_that_is_away_is_named_and_the_list_goes_on(plugins: Path, make: Make) -> None:
    """Half a list with a warning is worth more than none."""
    job = make("off").train("eta", command="true")
    with pytest.warns(UserWarning, match="backend new"):
        assert list(make("off", new={"faults": {"away": 1}}).jobs()) == [job]


CALLER = """
import json, os, random, sys
import lyftlearn, lyftlearn._submission.submitter
lyftlearn._submission.submitter._PAUSES = (0.0, 0.01)
chance = random.Random(os.environ["SEED"])
config = json.loads(sys.argv[1])
stages = ["off", "rehearse", "live", "complete"]
clients = [lyftlearn.Client(config=config | {"migration": config["migration"] | {"stage": stage}}) for stage in stages]
keys = [f"key-{number}" for number in range(int(sys.argv[2]))]
chance.shuffle(keys)
for key in keys:
    try:
        chance.choice(clients).train("eta", command="true", key=key)
    except lyftlearn.LyftLearnError:
        pass
"""


def storm(home: Path, seed: int, keys: int, callers: int) -> Counter[str]:
    """Let many processes submit the same keys on both sides of a flip, among refusals, silences and deaths."""
    chance = random.Random(seed)
    kinds = ("refuse", "silence_before", "silence_after", "die_before", "die_after")
    faults = {name: {kind: chance.uniform(0, 0.2) for kind in kinds} for name in ("old", "new")}
    config: dict[str, Any] = {"home": str(home), "project": "tests", "migration": {"from": "old", "to": "new"}}
    config |= {name: {"faults": table} for name, table in faults.items()}
    command = [sys.executable, "-c", CALLER, json.dumps(config), str(keys)]
    running = [subprocess.Popen(command, env=os.environ | {"SEED": f"{seed}-{n}"}) for n in range(callers)]
    for process in running:
        assert process.wait(timeout=600) in (0, 17)
    subprocess.run(
        [*command[:3], json.dumps(config | {"old": {}, "new": {}}), str(keys)],
        env=os.environ | {"SEED": "settle"},
        check=True,
        timeout=600,
    )
    tails = [name[-11:] for backend in ("old", "new") for name in jobs_of(home, backend)]
    return Counter(tails)


def test_no_job_ever_runs_twice(plugins: Path) -> None:
    """Whatever is refused, lost or killed on whichever side of the flip: one key, one job, and every key gets one."""
    assert set(storm(plugins, seed=1, keys=12, callers=6).values()) == {1}
    assert len(jobs_of(plugins, "old") + jobs_of(plugins, "new")) == 12


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_no_job_ever_runs_twice_in_many_storms(plugins: Path, seed: int) -> None:
    """More schedules of the same, for faults that need a particular order."""
    found = storm(plugins, seed=seed, keys=30, callers=8)
    assert set(found.values()) == {1}
    assert len(found) == 30
