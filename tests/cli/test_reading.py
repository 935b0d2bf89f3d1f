"""What the words of a command line mean."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, Resources
from lyftlearn.cli import _invocation, _parser
from lyftlearn.cli._examples import EXAMPLES
from lyftlearn.types import JobKind

FUNCTIONS = ("train", "process", "predict")
SPELLED_OTHERWISE = {  # parameter of the API: the options or words that give it
    "model": set(),
    "name": set(),
    "command": {"--command"},
    "hyperparameters": {"--hyperparameters", "--hyperparameter"},
    "inputs": {"--input"},
    "outputs": {"--output"},
    "secrets": {"--secret"},
    "labels": {"--label"},
    "resources": {f"--{name.replace('_', '-')}" for name in Resources.__dataclass_fields__},
}


def arguments(*words: str) -> dict[str, Any]:
    return _invocation.read(words).arguments


def options(command: str) -> set[str]:
    [commands] = [action for action in _parser.parser()._actions if action.dest == "_command"]
    assert isinstance(commands.choices, dict)
    return {option for action in commands.choices[command]._actions for option in action.option_strings}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_parameter_of_the_api_has_its_option(function: str) -> None:
    """A parameter that is added to the API must not be forgotten on the command line."""
    parameters = [name for name in inspect.signature(getattr(Client, function)).parameters if name != "self"]
    wanted = [SPELLED_OTHERWISE.get(name, {f"--{name}"}) for name in parameters]
    assert set().union(*wanted) <= options(function)


def test_what_is_not_given_is_not_passed() -> None:
    """Defaults belong to the API alone: a copy here would drift, and change digests."""
    assert arguments("train", "eta", "--", "true") == {"model": "eta", "command": ["true"]}


def test_a_command_after_two_dashes_is_untouched() -> None:
    """Whatever the user's command looks like, also options of ours and further dashes, it is the user's."""
    command = ["python", "train.py", "--json", "--", "-p", "a b", ""]
    assert arguments("train", "eta", "--", *command)["command"] == command


def test_a_command_for_the_shell_stays_one_text() -> None:
    """A text goes through a shell, a list does not: the command line must be able to say either."""
    assert arguments("train", "eta", "--command", "a | b")["command"] == "a | b"


@pytest.mark.parametrize("text", ["1.10", "007", "true", "null", '"quoted"', "a=b", "", " ", "[1]", "ü\n"])
def test_equals_keeps_the_text(text: str) -> None:
    """`"1.10"` that arrives as 1.1 is the classic loss of hyperparameters on their way."""
    assert arguments("train", "eta", "-p", f"name={text}", "--", "true")["hyperparameters"] == {"name": text}


@pytest.mark.parametrize("value", [1, 1.5, True, None, "EWR", [1, "2"], {"a": {"b": []}}, "a=b:=c"])
def test_colon_equals_reads_json(value: object) -> None:
    """Whoever wants a number or a list must be able to say so."""
    given = arguments("train", "eta", "-p", f"name:={json.dumps(value)}", "--", "true")
    assert given["hyperparameters"] == {"name": value}


def test_single_hyperparameters_win_over_the_document(tmp_path: Path) -> None:
    """A file of usual values with one changed on the command line is the common case of both together."""
    document = tmp_path / "usual.json"
    document.write_text('{"depth": 8, "origin": "EWR"}')
    given = arguments("train", "eta", "-p", "depth:=9", "--hyperparameters", str(document), "--", "true")
    assert given["hyperparameters"] == {"depth": 9, "origin": "EWR"}


def test_resources_are_gathered() -> None:
    """Resources are one value in the API and one option each here; those left out keep the API's defaults."""
    given = arguments("train", "eta", "--cpu", "2", "--gpu-type", "A10G", "--memory", "4Gi", "--", "true")
    assert given["resources"] == Resources(cpu=2, memory="4Gi", gpu_type="A10G")


def test_half_a_core_can_be_asked_for() -> None:
    """Cores are a number, not a count."""
    assert arguments("train", "eta", "--cpu", "0.5", "--", "true")["resources"].cpu == 0.5


def test_mappings_and_sequences_are_gathered() -> None:
    """An option that may be repeated must not keep its last value only."""
    given = arguments(
        "process", "clean", "--env", "A=1", "--env", "B=x=y", "--secret", "db", "--secret", "api", "--input", "rides=s3://b/r",
        "--output", "kept", "--output", "sent=s3://b/o", "--label", "team=eta", "--", "true",
    )  # fmt: skip
    assert given["env"] == {"A": "1", "B": "x=y"}
    assert given["secrets"] == ["db", "api"]
    assert given["inputs"] == {"rides": "s3://b/r"}
    assert given["outputs"] == {"kept": None, "sent": "s3://b/o"}
    assert given["labels"] == {"team": "eta"}


def test_a_time_with_an_offset_is_that_time() -> None:
    """`--since` takes what logs and tables print."""
    assert arguments("jobs", "--since", "2025-01-31T08:00:00+02:00")["since"] == datetime(2025, 1, 31, 6, tzinfo=UTC)


def test_a_time_without_an_offset_is_local() -> None:
    """A person at a terminal means the clock on the wall; the API refuses times without a zone."""
    assert arguments("jobs", "--since", "2025-01-31")["since"] == datetime(2025, 1, 31).astimezone()


def test_a_duration_is_left_to_the_api() -> None:
    """One reader of durations, with one message."""
    assert arguments("jobs", "--since", "2h")["since"] == "2h"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--config x", "the command comes first"),
        ("--config x jobs", "the command comes first"),
        ("trian eta -- true", "'trian' is not known. Did you mean 'train'?"),
        ("plan trian eta -- true", "Did you mean 'train'?"),
        ("migration reprot", "Did you mean 'report'?"),
        ("jobs --status runing", "Did you mean 'running'?"),
        ("jobs eta", "'eta' is not known here."),
        ("train eta --sorce . -- true", "'--sorce' is not known here. Did you mean '--source'?"),
        ("migration status --html x", "It is an option of: lyftlearn migration report"),
        ("migration status --htlm x", "'--htlm' is not known here.\n"),
        ("jobs --html=x", "'--html=x' is not known here. It is an option of: lyftlearn "),
        ("plan train eta --follow -- true", "'--follow' is not known here. It is an option of: lyftlearn "),
        ("backends --version", "'--version' is not known here. It is an option of: lyftlearn."),
        ("train -- true", "MODEL"),
        ("train eta --tim 4h -- true", "'--tim' is not known here. Did you mean '--timeout'?"),
        ("train eta --env A -- true", "write NAME=VALUE"),
        ("train eta --env A=1 --env A=2 -- true", "--env gives 'A' twice"),
        ("train eta -p a:={ -- true", "the value of 'a' is not JSON"),
        ("train eta -p :=1 -- true", "names no hyperparameter"),
        ("train eta --hyperparameters nowhere.json -- true", "nowhere.json cannot be read"),
        ("train eta --cpu many -- true", "invalid number value: 'many'"),
        ("train eta --command a -- b", "two commands"),
        ("train eta --wait --follow -- true", "not allowed with"),
        ("predict eta -- true", "--artifact"),
        ("status eta -- true", "`status` runs nothing"),
        ("backends -- true", "`backends` runs nothing"),
        ("jobs --since 2025-99-01", "is no time"),
        ("jobs --kind training", "Write one of:"),
        ("completion fish", "Write one of:"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error names the option and ends with 2, before anything is sent."""
    with pytest.raises(SystemExit) as exit_:
        _invocation.read(words.split())
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("train eta python train.py", "lyftlearn train eta -- python train.py"),
        ("train eta -p a=1 python x.py --epochs 3", "lyftlearn train eta -p a=1 -- python x.py --epochs 3"),
        ("train eta -p python=1 --env A=python python x.py", "--env A=python -- python x.py"),
        ("predict eta --artifact ID --input a=b python x.py", "--input a=b -- python x.py"),
        ("plan process clean python x.py", "lyftlearn plan process clean -- python x.py"),
        ("parity run --on local,kubernetes python x.py", "--on local,kubernetes -- python x.py"),
    ],
)
def test_a_command_without_its_two_dashes_is_shown_the_line_that_was_meant(
    words: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody forgets them once; the words that came are enough to say what to type."""
    with pytest.raises(SystemExit) as exit_:
        _invocation.read(words.split())
    assert exit_.value.code == 2
    assert meant in capsys.readouterr().err


def test_two_dashes_are_not_advised_where_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A stray word of `jobs` is no command."""
    with pytest.raises(SystemExit):
        _invocation.read(["jobs", "eta"])
    assert "--`" not in capsys.readouterr().err


def test_nothing_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Who types the name alone wants to know what there is."""
    with pytest.raises(SystemExit) as exit_:
        _invocation.read([])
    assert exit_.value.code == 0
    assert "for operators" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("help", "train"), ("train", "--help"), ("--help",), ("help",)])
def test_help_is_asked_for_in_either_way(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Half of all programs have a command for it."""
    with pytest.raises(SystemExit) as exit_:
        _invocation.read(words)
    assert exit_.value.code == 0
    assert "usage: lyftlearn" in capsys.readouterr().out


@pytest.mark.parametrize("command", _parser.COMMANDS)
def test_the_examples_of_the_help_can_be_read(command: str) -> None:
    """An example is copied, and must not be answered with a usage error."""
    assert EXAMPLES[command]
    for line in EXAMPLES[command]:
        words = shlex.split(re.split(r" (?:&&|>) ", line)[0])
        assert words[:2] == ["lyftlearn", command]
        assert _invocation.read(words[1:]).command == command


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors of another system write one, and nobody sees it."""
    document = tmp_path / "usual.json"
    document.write_text('{"depth": 8}', encoding="utf-8-sig")
    given = arguments("train", "eta", "--hyperparameters", str(document), "--", "true")
    assert given["hyperparameters"] == {"depth": 8}


def test_hyperparameters_must_be_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list in the file would only fail in the container."""
    document = tmp_path / "list.json"
    document.write_text("[1]")
    with pytest.raises(SystemExit):
        _invocation.read(["train", "eta", "--hyperparameters", str(document), "--", "true"])
    assert "holds no JSON object" in capsys.readouterr().err


@pytest.mark.parametrize("command", _parser.COMMANDS)
def test_a_parser_for_one_command_knows_all_of_it(command: str) -> None:
    """The short way that spares the other commands must read the same options."""

    def shown(only: str | None) -> str:
        [commands] = [action for action in _parser.parser(only)._actions if action.dest == "_command"]
        assert isinstance(commands.choices, dict)
        return str(commands.choices[command].format_help())

    assert shown(command) == shown(None)


def test_kinds_have_commands() -> None:
    """What the API can submit as a command, the command line can."""
    without = {JobKind.NOTEBOOK}
    assert {str(kind) for kind in JobKind if kind not in without} == {*FUNCTIONS, "tune"} <= set(_parser.COMMANDS)
