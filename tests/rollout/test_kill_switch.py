"""The kill switch: one file that no flag overrides, that takes effect at once, and that nothing pulls by accident."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.config import load
from lyftlearn.errors import BackendUnavailable
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
            self.gate.wait(60)
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
