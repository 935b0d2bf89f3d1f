"""The kill switch: one file that no flag overrides, that takes effect at once, and that nothing pulls by accident."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.config import load
from lyftlearn.errors import BackendUnavailable, InvalidJob
from lyftlearn.rollout import Decision, Rollout, kill_switch
from lyftlearn.rollout.stage import Stage

OLD, NEW = "local-kubernetes", "local-sagemaker"
ATTRIBUTES: dict[str, Any] = {
    "model": "eta",
    "kind": "train",
    "repository": None,
    "team": None,
    "labels": {},
    "nodes": 1,
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_FLAGS", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """Where the switch is looked for, beside a flag that says `complete`."""
    flag = {
        "state": "ENABLED",
        "variants": {"on": "complete"},
        "defaultVariant": "on",
        "targeting": {"if": [True, "on"]},
    }
    (tmp_path / "flags.json").write_text(json.dumps({"flags": {"lyftlearn-migration": flag}}))
    return tmp_path / "shared" / "migration-off"


def rollout(switch: Path, **migration: Any) -> Rollout:
    home = switch.parents[1]
    table = {"from": OLD, "to": NEW, "cache": "0s", "flags": str(home / "flags.json"), "kill_switch": str(switch)}
    given = {name: value for name, value in {**table, **migration}.items() if value is not None}
    return Rollout(load({"home": str(home), "migration": given}), lambda: (OLD, NEW))


def decide(of: Rollout) -> Decision:
    return of.decide(ATTRIBUTES)


def pull(switch: Path) -> None:
    switch.parent.mkdir(exist_ok=True)
    switch.touch()


def test_no_flag_overrides_it(switch: Path) -> None:
    """It is pulled by whoever is awake, while the flag still says `complete`; and what follows is as before."""
    of = rollout(switch, stage="live", default="live")
    assert (decide(of).backend, decide(of).stage) == (NEW, Stage.COMPLETE)
    pull(switch)
    decision = decide(of)
    assert (decision.backend, decision.stage, decision.source) == (OLD, Stage.OFF, "[migration] kill_switch")
    assert decision.reason == "[migration] kill_switch says off"
    switch.unlink()
    assert decide(of).backend == NEW


def test_its_place_and_the_flags_may_be_uris(switch: Path) -> None:
    """What a URI quotes is another name: a switch that is looked for under it could be pulled by nobody."""
    named = switch.parent / "off 100%#1"
    flags = switch.parents[1] / "flags.json"
    moved = flags.rename(flags.with_name("my flags.json"))
    of = rollout(named, kill_switch=named.as_uri(), flags=moved.as_uri())
    assert decide(of).backend == NEW
    pull(named)
    assert decide(of).backend == OLD


@pytest.mark.parametrize("key", ["flags", "kill_switch"])
def test_a_place_that_nobody_can_read_is_a_fault(switch: Path, key: str) -> None:
    """It would be taken for the name of a file that is not there, its password with it."""
    with pytest.raises(InvalidJob, match=f"migration.{key}") as caught:
        rollout(switch, **{key: "ftp://me:pass-7f3a@127.0.0.1/x"})
    assert "pass-7f3a" not in str(caught.value)


def test_a_variable_may_name_no_other_place(switch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read by no configuration, so the decision itself says that it is no source."""
    monkeypatch.setenv("LYFTLEARN_FLAGS", "ftp://me:pass-7f3a@127.0.0.1/x")
    decision = decide(rollout(switch, default="live"))
    assert (decision.backend, decision.stage) == (NEW, Stage.LIVE)
    assert "ftp://127.0.0.1 is no source of flags" in str(decision.sources)
    assert "pass-7f3a" not in str(decision.sources)


def test_the_operator_of_one_process_overrides_it(switch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has to be able to look whether the new side works again."""
    pull(switch)
    monkeypatch.setenv("LYFTLEARN_BACKEND", NEW)
    assert decide(rollout(switch)).backend == NEW


def test_a_look_holds_as_long_as_a_flag(switch: Path) -> None:
    """A thousand submissions in a second are not a thousand requests."""
    of = rollout(switch, cache="1h")
    assert decide(of).backend == NEW
    pull(switch)
    assert decide(of).backend == NEW
    assert decide(rollout(switch, cache="1h")).backend == OLD


class Away:
    """A storage that cannot be read."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate

    def read(self, key: str) -> None:
        if self.gate:
            self.gate.wait(600)
        raise BackendUnavailable(f"no answer for {key}")


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("pulled", [False, True])
def test_a_storage_that_is_away_changes_nothing(
    switch: Path,
    monkeypatch: pytest.MonkeyPatch,
    pulled: bool,
    silent: bool,
) -> None:
    """No fleet is moved back by an outage, and none that was stopped begins to move, in a new process either."""
    if pulled:
        pull(switch)
    before = decide(rollout(switch)).backend
    gate = threading.Event() if silent else None
    monkeypatch.setattr(kill_switch, "open_storage", lambda _: Away(gate))
    for of in (rollout(switch, budget="0.1s"), rollout(switch, budget="0.1s")):
        decisions = [decide(of), decide(of)]
        assert {decision.backend for decision in decisions} == {before} == {OLD if pulled else NEW}
        said = dict(decisions[-1].sources)["[migration] kill_switch"]
        assert "cannot be looked at" in said
    if gate:
        gate.set()


@pytest.mark.parametrize("pulled", [False, True])
def test_what_was_seen_of_another_switch_says_nothing(
    switch: Path, monkeypatch: pytest.MonkeyPatch, *, pulled: bool
) -> None:
    """Migrations of one user may have a switch each: an outage would let jobs go that one of them had stopped."""
    other = switch.with_name("other-off")
    pull(switch if pulled else other)
    before = [decide(rollout(of)).backend for of in (switch, other)]
    monkeypatch.setattr(kill_switch, "open_storage", lambda _: Away())
    assert [decide(rollout(of)).backend for of in (switch, other)] == before == ([OLD, NEW] if pulled else [NEW, OLD])


def test_without_one_nothing_is_looked_at(switch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has none pays nothing for it."""
    looks: list[str] = []

    def look(url: str) -> Away:
        looks.append(url)
        return Away()

    monkeypatch.setattr(kill_switch, "open_storage", look)
    decide(rollout(switch))
    assert looks == [str(switch.parent)]
    assert decide(rollout(switch, kill_switch=None)).backend == NEW
    assert len(looks) == 1
