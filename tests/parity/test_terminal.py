"""What a person sees of a comparison in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.parity._json import dump
from lyftlearn.parity._model import Parity
from lyftlearn.parity._rules import Rules
from lyftlearn.parity._terminal import lines, show

from .samples import compared, mixed, rule

SHOW = "import sys; from lyftlearn.parity import _json, _terminal; _terminal.show(_json.load(open(sys.argv[1]).read()))"


def text(parity: Parity, width: int = 100) -> str:
    return "\n".join(map(str, lines(parity, width)))


def on_a_terminal(path: Path, **variables: str) -> str:
    """Return what another process prints to a terminal of its own."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with os.fdopen(ours, "rb", buffering=0) as read:
        command = [sys.executable, "-c", SHOW, str(path)]
        with subprocess.Popen(command, stdout=theirs, env=environment | variables) as process:
            os.close(theirs)
            found = _all_of(read.fileno())
            assert process.wait(600) == 0
    return found.decode()


def _all_of(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            read = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux tells the end of a terminal
            return found
        if not read:
            return found
        found += read


def test_the_whole_in_a_few_lines() -> None:
    """Each backend has its line, then comes what matters with both values, and last the verdict, above the prompt."""
    assert text(mixed()) == (
        """\
held against old, in 1m 01s:
  ok      alike   1 allowed, 1 noise, 19 equal
  differs broken  3 broken, 1 unknown, 1 allowed, 1 noise, 15 equal
  ok      same    1 noise, 20 equal

broken (3)
  kept HOME
    old     "/home/app"
    broken  "/root"
    the contract says that it is equal everywhere, under 'row of kept **'
  kept exit 37
    old     37
    broken  (absent)
    the contract says that it is equal everywhere, under 'row of kept **'
  kept long
    old     ...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    broken  ...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
    the contract says that it is equal everywhere, under 'row of kept **'

unknown (1)
  other limit
    old     [1024, 4096]
    broken  [9, 9]
    nobody has classed this difference: mend it, or give it a rule

allowed (1)
      1  row of free **: as it is

parity does not hold: 21 facts, 3 backends: 3 broken, 1 unknown, 1 allowed for 1 reason, 1 noise, 15 equal"""
    )


def test_all_is_well() -> None:
    """Good news is three lines."""
    facts = {"kept a": 1}
    assert text(compared(facts, facts, new=facts)).splitlines() == [
        "held against old, in 1m 01s:",
        "  ok      new  1 equal",
        "",
        "of the rules, 1 pattern named no fact; the page and the JSON list them",
        "",
        "parity holds: 1 fact, 1 backend: 1 equal",
    ]


def test_backends_that_differ_alike_share_a_line() -> None:
    """Five backends with one fault are one fault."""
    facts, other = {"kept a": 1}, {"kept a": 2}
    shown = text(compared(facts, facts, b=other, a=other, c={"kept a": 3}))
    assert "    a, b  2\n    c     3\n" in shown


def test_of_many_differences_the_first_are_shown() -> None:
    """A screen that scrolls past tells nothing; the page has them all."""
    facts = {f"kept {number}": 1 for number in range(100)}
    shown = text(compared(facts, facts, new=dict.fromkeys(facts, 2)))
    assert "broken (100)" in shown
    assert "  and 75 more, which the page and the JSON have" in shown
    assert len(shown.splitlines()) < 120


def test_a_backend_that_told_nothing_is_one_line() -> None:
    """Its thousand missing facts have one cause, and would bury the differences of others."""
    facts = {f"kept {number}": 1 for number in range(100)}
    shown = text(compared(facts, facts, new={}, fine=facts))
    assert "unseen  new   nothing was observed" in shown
    assert "parity does not hold" in shown
    assert "kept" not in shown


def ended(status: str, reason: str | None, exit_code: int | None) -> dict[str, Any]:
    return {"command status": status, "command reason": reason, "command exit_code": exit_code}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (("failed", "error", 3), ("failed", "error", 3), "failed (error, exit code 3) on old, new"),
        (("stopped", None, None), ("stopped", None, None), "stopped on old, new"),
        (("succeeded", None, 0), ("failed", "error", 3), "failed (error, exit code 3) on new"),
    ],
)
def test_a_command_that_failed_shows_no_parity(
    old: tuple[str, str | None, int | None], new: tuple[str, str | None, int | None], said: str
) -> None:
    """A typing error fails alike everywhere; who reads that parity holds would move the job."""
    parity = compared(ended(*old), ended(*old), new=ended(*new), rules=Rules((rule("command **"),)))
    shown = text(parity)
    assert f"the command {said}: what it does after that was not compared" in shown
    assert "parity holds" not in shown
    assert not parity.holds
    assert parity.agrees == (old == new)


def test_a_command_that_succeeded_shows_parity() -> None:
    """The other half: success everywhere is what holds."""
    end = ended("succeeded", None, 0)
    assert "parity holds" in text(compared(end, end, new=end, rules=Rules((rule("command **"),))))


@pytest.mark.parametrize("width", [10, 40, 60, 100, 200])
def test_values_fit_the_width(width: int) -> None:
    """A line that wraps tears the columns apart; below 40 columns nothing sensible fits."""
    values = [line for line in map(str, lines(mixed(), width)) if line.startswith("    ") and '"' in line]
    assert values
    assert max(map(len, values)) <= max(width, 40)


def test_hostile_texts_do_not_reach_the_terminal() -> None:
    """Paths and values come from programs; an escape sequence in one must not clear the screen or hide a line."""
    facts = {"kept \x1b[2J\u202epath": 1, "x": 1}
    others: dict[str, Any] = {"new\x1b]0;": {**facts, "kept \x1b[2J\u202epath": "\x1b[31m\0\n"}}
    shown = text(compared(facts, facts, **others))
    assert not [letter for letter in shown if not letter.isprintable() and letter != "\n"]


def test_piped_it_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and pipes get text alone."""
    show(mixed())
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "coloured", "bold"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_gets_colour_if_it_wants(
    variables: Mapping[str, str], coloured: bool, bold: bool, tmp_path: Path
) -> None:
    """Red and green where they can be seen, nothing but text where they cannot or must not be."""
    path = tmp_path / "parity.json"
    path.write_text(dump(mixed()))
    shown = on_a_terminal(path, COLUMNS="60", **variables)
    assert ("\x1b[1;31mbroken" in shown) == coloured
    assert ("\x1b[1m" in shown) == bold
    assert "parity does not hold: " in shown
