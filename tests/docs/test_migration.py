"""The migration guide is followed as it is printed, from `off` to `complete` and back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lyftlearn import Client, ops
from lyftlearn.backend import Verdict
from lyftlearn.config import load
from lyftlearn.config.keys import MIGRATION
from lyftlearn.rollout import Rollout

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (DOCS / "migration.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```\w+ title="(\S+)"\n(.*?)```', PAGE, re.DOTALL))
COMMANDS = re.findall(r"^    \$ (.+)$", PAGE, re.MULTILINE)


def environment(room: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LYFTLEARN_")}
    return clean | {
        "LYFTLEARN_HOME": str(room / "home"),
        "LYFTLEARN_PLATFORM_CONFIG": os.devnull,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def typed(room: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Type one command."""
    ran = subprocess.run(
        ["sh", "-c", command],
        cwd=room,
        env=environment(room),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran


def printed_by(room: Path, command: str) -> str:
    """Type a command, again where the machine was too busy to journal it, and wait for the shadow of its job."""
    ran = typed(room, command)
    while "wait for the next process" in ran.stderr:
        ran = typed(room, command)
    if command.startswith("lyftlearn train"):
        shadows = json.loads(typed(room, f"lyftlearn jobs --json --label lyftlearn/shadow={ran.stdout}").stdout)
        for shadow in shadows:
            typed(room, f"lyftlearn wait {shadow['id']}")
    return ran.stdout


def follow(room: Path, commands: Sequence[str] = COMMANDS) -> Iterator[tuple[str, str]]:
    """Type the page's commands; give each with what it printed."""
    for name, content in FILES.items():
        (room / name).write_text(content)
    for command in commands:
        yield command, printed_by(room, command)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_guide_begins(tmp_path: Path) -> None:
    """A reader who types the first commands of the page sees the rehearsal of one job, as the page says."""
    next_stage = next(index for index, command in enumerate(COMMANDS) if command.startswith("sed"))
    printed = list(follow(tmp_path, COMMANDS[:next_stage]))
    assert [ident.strip().rpartition("-")[2][1] for command, ident in printed if "lyftlearn train" in command] == ["c"]
    assert re.search(r"rides/eta +eta +1 +0 +1 +1", dict(printed)["lyftlearn migration report"])
    assert "<svg" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)  # twenty commands, on a machine that may be busy
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_guide_works(tmp_path: Path) -> None:
    """Each stage sends the job where the page says, and the views show what happened, back to `off`."""
    printed = list(follow(tmp_path))
    sides = [ident.strip().rpartition("-")[2][1] for command, ident in printed if command.startswith("lyftlearn train")]
    assert sides == ["c", "c", "g", "g", "c"]
    views = [said for command, said in printed if command.startswith("lyftlearn migration")]
    assert re.search(r"rides/eta +eta +1 +0 +1 +1", views[0])
    assert "shadows compared: 1, of which alike: 1" in views[2]
    assert re.search(r"eta +live +local-sagemaker +1 +33%", views[3])
    assert views[4].startswith("inconclusive")
    assert "LYFTLEARN_BACKEND says so" in printed[-1][1]
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_the_page_has_commands() -> None:
    """If the page's form changes, the test above must not silently type nothing."""
    assert set(FILES) == {"lyftlearn.toml", "flags.json"}
    assert sum(command.startswith("lyftlearn train") for command in COMMANDS) == 5


def test_the_page_names_every_setting_and_attribute(tmp_path: Path) -> None:
    """A setting that is not in the guide is used by nobody."""
    assert all(re.search(rf"`?\b{option.key.rpartition('.')[2]}\b", PAGE) for option in MIGRATION)
    client = Client(config={"home": str(tmp_path)})
    told = ops.explain("train", "eta", client=client).attributes
    assert all(f"`{name}`" in PAGE for name in told)


@pytest.mark.parametrize(
    ("weights", "verdict"), [((30, 70), Verdict.OK), ((30, 60), Verdict.WARNING), ((1, 1), Verdict.WARNING)]
)
def test_doctor_warns_of_weights_that_are_no_percentages(
    tmp_path: Path, weights: tuple[int, int], verdict: Verdict
) -> None:
    """Weights of 30 and 60 send a third to the new side, and whoever wrote them expects three tenths."""
    text = (DOCS / "migration" / "flags.json").read_text()
    assert '["live", 30], ["rehearse", 70]' in text
    flags = tmp_path / "flags.json"
    flags.write_text(text.replace('30], ["rehearse", 70]', f'{weights[0]}], ["rehearse", {weights[1]}]'))
    migration = {"from": "local-kubernetes", "to": "local-sagemaker", "flags": str(flags)}
    config = {"home": str(tmp_path), "backend": "local", "migration": migration}
    (check,) = [check for check in ops.doctor(config) if check.name == "flag file"]
    assert check.verdict is verdict
    assert verdict is Verdict.OK or str(sum(weights)) in check.detail


@pytest.mark.parametrize(("text", "verdict"), [("{", Verdict.FAILED), ('{"flags": {}}', Verdict.WARNING)])
def test_doctor_reads_the_flag_file(tmp_path: Path, text: str, verdict: Verdict) -> None:
    """A file that nobody can read, or without the flag, decides nothing: better said before the first job."""
    (tmp_path / "flags.json").write_text(text)
    migration = {"to": "local-sagemaker", "flags": str(tmp_path / "flags.json")}
    config = {"home": str(tmp_path), "migration": migration}
    (check,) = [check for check in ops.doctor(config) if check.name == "flag file"]
    assert check.verdict is verdict


def test_the_file_to_copy_is_what_its_page_says() -> None:
    """The page's bullets are about this file."""
    flag = json.loads((DOCS / "migration" / "flags.json").read_text())["flags"]["lyftlearn-migration"]
    assert flag["defaultVariant"] == "unset"
    assert flag["targeting"]["if"][-1] == "rehearse"


def test_a_broken_backend_does_not_hide_the_explanation(tmp_path: Path) -> None:
    """`explain` is asked when something is wrong: it plans nothing and loads no backend."""
    config = load({"home": str(tmp_path), "backend": "gone", "migration": {"from": "gone", "to": "gone-too"}})
    expected = Rollout(config, list).decide({"model": "eta"})
    found = ops.explain("train", "eta", client=Client(config=dict(config.tables)), nodes=2)
    assert (found.backend, found.reason, found.asked) == ("gone", expected.reason, expected.asked)
    assert found.attributes["nodes"] == 2
