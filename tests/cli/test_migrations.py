"""`migration switch`, `status` and `autopilot` as an operator types them: what they print, and how they end."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lyftlearn import ops
from lyftlearn._migration.results import AutopilotRun
from lyftlearn._migration.rungs import Rung, with_rungs
from lyftlearn.cli import _autopilot_command
from lyftlearn.errors import BackendUnavailable, InvalidJob
from lyftlearn.rollout import Stage
from tests.containers import require_containers

from .conftest import CommandLine

FLAG = "lyftlearn-migration"
ETA = ("rides/eta", "eta")
CONFIGURATION = """\
backend = "local-kubernetes"
repository = "rides/eta"

[migration]
from = "local-kubernetes"
to = "local-sagemaker"
flags = "flags.json"
"""


def by_stage(stage: str) -> str:
    variants = {name: name for name in (*map(str, Stage), "unset")}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "unset", "targeting": {"if": [True, stage]}}
    return json.dumps({"flags": {FLAG: flag}})


@pytest.fixture
def line(lyftlearn: CommandLine) -> CommandLine:
    """The command line in a migration, with a job that was rehearsed."""
    require_containers()
    (lyftlearn.directory / "lyftlearn.toml").write_text(CONFIGURATION)
    (lyftlearn.directory / "flags.json").write_text(by_stage("rehearse"))
    (lyftlearn.directory / "new.json").write_text(by_stage("live"))
    assert lyftlearn("train", "eta", "--wait", "--", "true").code == 0
    return lyftlearn


def rungs(line: CommandLine, found: dict[tuple[str, str], Rung]) -> None:
    text = json.dumps(with_rungs(json.loads(by_stage("off")), FLAG, found))
    (line.directory / "flags.json").write_text(text)


def flags_of(line: CommandLine) -> str:
    return (line.directory / "flags.json").read_text()


def test_switch_says_what_changes_and_changes_it(line: CommandLine) -> None:
    """First as a table, then as JSON whose next step is the switch itself, and then it is done."""
    before = flags_of(line)
    shown = line("migration", "switch", "--dry-run", "new.json")
    assert (shown.code, shown.err) == (0, "")
    assert "rehearse -> live" in shown.out
    assert "of 1 jobs, 1 would have run on another backend" in shown.out
    steps = line("migration", "switch", "--dry-run", "new.json", "--json").json["next_steps"]
    assert any(step.startswith("lyftlearn migration ") for step in steps)
    assert flags_of(line) == before
    refused = line("migration", "switch", "new.json")
    assert (refused.code, flags_of(line)) == (2, before)
    assert "why" in refused.err
    done = line("migration", "switch", "new.json", "--why", "all clear", "--json")
    assert (done.code, done.json["written"], done.json["problem"]) == (0, True, None)
    assert flags_of(line) == by_stage("live")
    assert [step["why"] for step in line("migration", "status", "--json").json["steps"]] == ["all clear"]


BROKEN: dict[str, bytes] = {"no JSON": b'{"flags": ', "no table": b"[]", "no text": b"\xff\xfe{"}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_a_switch_repairs_a_broken_file(line: CommandLine, broken: str) -> None:
    """Only at a word: whoever types it knows that the old content is lost. Without, one sentence says so."""
    target = line.directory / "flags.json"
    target.write_bytes(BROKEN[broken])
    looked = line("migration", "switch", "--dry-run", "new.json")
    assert looked.code == 0
    assert f"the flags until now: {target}" in looked.out
    refused = line("migration", "switch", "new.json", "--why", "repair")
    assert (refused.code, "--replace-broken" in refused.err, "Traceback" in refused.err) == (2, True, False)
    assert target.read_bytes() == BROKEN[broken]
    done = line("migration", "switch", "new.json", "--why", "repair", "--replace-broken", "--json").json
    assert (done["written"], bool(done["problem"])) == (True, True)
    assert flags_of(line) == by_stage("live")


@pytest.mark.slow
def test_a_switch_with_a_broken_new_file_writes_nothing(line: CommandLine) -> None:
    """Also with the word that is for the old one."""
    (line.directory / "new.json").write_text("{")
    refused = line("migration", "switch", "new.json", "--why", "x", "--replace-broken")
    assert (refused.code, "is no JSON" in refused.err) == (2, True)
    assert flags_of(line) == by_stage("rehearse")


def test_autopilot_raises_and_says_so(line: CommandLine) -> None:
    """A dry run changes nothing; a look raises one rung; the status has where it stands and what is missing."""
    rungs(line, {})
    assert line("train", "fare", "--wait", "--", "true").code == 0
    before = flags_of(line)
    dry = line("migration", "autopilot", "--dry-run")
    assert (dry.code, flags_of(line)) == (0, before)
    assert "1 raised, 0 lowered, 1 held; nothing was changed" in dry.out
    raised = line("migration", "autopilot", "--once")
    assert (raised.code, "1 raised, 0 lowered, 1 held; rungs are in" in raised.out) == (0, True)
    assert "rides/eta#fare" in flags_of(line)
    rungs(line, {ETA: Rung.REHEARSE})
    held = line("migration", "autopilot", "--once", "--json").json
    step = next(step for step in held["steps"] if step["model"] == "eta")
    assert (step["action"], step["rung"]) == ("hold", "rehearse")
    assert step["missing"] == ["2 more rehearsals with today's image and source"]
    status = line("migration", "status")
    assert "2 more rehearsals with today's image and source" in status.out
    assert "not used: processing, prediction" in status.out
    model = next(of for of in line("migration", "status", "--json").json["models"] if of["model"] == "eta")
    assert (model["evidence"]["rung"], model["evidence"]["missing"]) == ("rehearse", step["missing"])


@pytest.mark.slow
def test_autopilot_moves_a_repository(line: CommandLine) -> None:
    """With by = "repository", all its models are one line, and one entry in the flag file."""
    (line.directory / "lyftlearn.toml").write_text(CONFIGURATION + '\n[autopilot]\nby = "repository"\n')
    (line.directory / "flags.json").unlink()
    assert line("train", "fare", "--wait", "--", "true").code == 0
    found = line("migration", "autopilot", "--once")
    assert found.code == 0
    (row,) = [text.split() for text in found.out.splitlines() if text.startswith("rides/eta")]
    assert row[:5] == ["rides/eta", "*", "raise", "off", "rehearse"]
    assert '"rides/eta"' in flags_of(line)
    assert line("explain", "train", "anything", "--json").json["stage"] == "rehearse"


@pytest.mark.slow
def test_autopilot_ends_kindly(line: CommandLine) -> None:
    """A broken flag file and a missing one are configuration; a flag service cannot be written to."""
    (line.directory / "flags.json").write_text("{")
    broken = line("migration", "autopilot", "--once")
    assert (broken.code, "is no JSON" in broken.err, "Traceback" in broken.err) == (2, True, False)
    (line.directory / "flags.json").unlink()
    (line.directory / "flags.json").mkdir()
    for words in (("autopilot", "--once"), ("switch", "new.json", "--why", "x")):
        unreadable = line("migration", *words)
        assert (unreadable.code, "flags.json cannot be read" in unreadable.err) == (8, True)
    (line.directory / "lyftlearn.toml").write_text(CONFIGURATION.replace('"flags.json"', '"https://flags.example"'))
    service = line("migration", "autopilot", "--once", "--json")
    assert (service.code, "cannot be written to" in json.loads(service.err)["error"]["message"]) == (2, True)


@pytest.fixture
def terminated() -> Iterator[None]:
    """Whatever SIGTERM did before does it again."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("terminated")
@pytest.mark.parametrize("works", [True, False])
def test_a_file_that_breaks_ends_no_autopilot_that_has_worked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, works: bool
) -> None:
    """Somebody saves half a file at night: models that do worse are to be lowered in the morning all the same."""
    found = AutopilotRun(old="a", new="b", at=datetime.now(UTC), flags="f", dry_run=False, steps=())
    broken = InvalidJob([("flag file", "is no JSON")])
    looks: Iterator[Any] = iter(
        [found, broken, BackendUnavailable("away"), found] if works else [BackendUnavailable("away"), broken]
    )

    def look(**_: Any) -> AutopilotRun:
        one: AutopilotRun | Exception = next(looks)
        if works and next(left) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        if isinstance(one, Exception):
            raise one
        return one

    left = iter([3, 2, 1, 0])
    monkeypatch.setattr(ops, "migration_autopilot", look)
    config = {"home": str(tmp_path), "autopilot": {"every": "0.01s"}}
    invocation: Any = SimpleNamespace(arguments={}, config=config, json=False)
    if works:
        assert _autopilot_command.autopilot(invocation) == 0
    else:
        with pytest.raises(InvalidJob):
            _autopilot_command.autopilot(invocation)
    assert next(looks, None) is None


PLUGIN = """
import json, os
from pathlib import Path
from lyftlearn._migration.rungs import Rung

class Service:
    name = "acme-flags"

    def __init__(self, config):
        self.path = Path(os.environ["ACME_FLAGS"])

    def _all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def read(self):
        return {tuple(name.split("#")): Rung(rung) for name, rung in self._all().items()}

    def change(self, steps):
        now = self.read()
        moved = {of: after for of, (before, after) in steps.items() if now.get(of) is before}
        self.path.write_text(json.dumps({"#".join(of): rung for of, rung in {**now, **moved}.items()}))
        return frozenset(moved)
"""


@pytest.mark.slow
def test_a_plugin_keeps_the_rungs(line: CommandLine, tmp_path: Path) -> None:
    """It is found by its entry point, as an installed one is, and status and autopilot go by what it says."""
    packages, kept = tmp_path / "packages", tmp_path / "acme.json"
    info = packages / "acme_flags-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "acme_flags.py").write_text(textwrap.dedent(PLUGIN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-flags\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lyftlearn.rung_stores]\nacme = acme_flags:Service\n")
    (line.directory / "lyftlearn.toml").write_text(CONFIGURATION + '\n[autopilot]\nwriter = "acme"\n')
    given = {"PYTHONPATH": str(packages), "ACME_FLAGS": str(kept)}
    kept.write_text('{"rides/eta#eta": "live-100"}')
    (model,) = line("migration", "status", "--json", **given).json["models"]
    assert model["evidence"]["rung"] == "live-100"
    kept.unlink()
    rungs(line, {})
    assert line("train", "fare", "--wait", "--", "true").code == 0
    found = line("migration", "autopilot", "--once", "--json", **given).json
    assert (found["flags"], {step["model"]: step["rung"] for step in found["steps"]}["fare"]) == (
        "acme-flags",
        "rehearse",
    )
    assert json.loads(kept.read_text())["rides/eta#fare"] == "rehearse"
    kept.write_text("{")
    broken = line("migration", "autopilot", "--once", **given)
    assert (broken.code, "the plugin 'acme'" in broken.err, "Traceback" in broken.err) == (10, True, False)
    assert "the plugin 'acme'" in line("migration", "status", "--json", **given).json["problem"]


@pytest.mark.slow
def test_a_parity_run_is_evidence(line: CommandLine) -> None:
    """It is in the history with when and with what, until lyftlearn, the image or its time changes; no model is it."""
    sides = "local-kubernetes,local-sagemaker"
    assert line("parity", "run", "--on", sides, "--only", "statsd").code == 0
    status = line("migration", "status", "--json").json
    (model,) = status["models"]
    (parity,) = [of for of in model["evidence"]["kinds"] if of["kind"] == "parity run"]
    assert (parity["fresh"], parity["stale"], parity["version"]) == (0, 1, version("lyftlearn"))
    assert parity["stale_because"] == ["only some subjects were compared"]
    assert [of["shown"] for of in status["workflows"] if of["name"] == "metrics"] == ["alike in a parity run"]
    assert line("train", "eta", "--image", "trainer:2", "--", "true").code == 0  # it need not even run
    (model,) = line("migration", "status", "--json").json["models"]
    (parity,) = [of for of in model["evidence"]["kinds"] if of["kind"] == "parity run"]
    assert parity["stale_because"] == ["made with another image", "only some subjects were compared"]
