"""Searches from the command line: types as they are written, and faults in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from lyftlearn.cli import _invocation, _search_values
from lyftlearn.types import Choice, IntUniform, Uniform

WORDS = ["tune", "eta", "--minimize", "rmse", "--trials", "4"]


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("uniform(0, 1.5)", Uniform(low=0, high=1.5)),
        ("log(1e-4,1e-1)", Uniform(low=1e-4, high=1e-1, log=True)),
        ("int(2,8)", IntUniform(low=2, high=8)),
        ("int-log(1,1024)", IntUniform(low=1, high=1024, log=True)),
        ('choice("a","b")', Choice(["a", "b"])),
        ('choice(1,"1",true,null,[1,2])', Choice([1, "1", True, None, [1, 2]])),
    ],
)
def test_a_domain_is_read_with_its_types(written: str, domain: Any) -> None:
    """What a shell passes is text; what a trial gets must not be."""
    given = _invocation.read([*WORDS, "--space", f"x={written}", "--", "python", "train.py"]).arguments
    assert given["space"] == {"x": domain}
    assert given["command"] == ["python", "train.py"]


@pytest.mark.parametrize("written", ["x", "x=", "x=1", "x=int(1)", "x=int(1,2,3)", "x=choice(a,b)", "x=normal(0,1)"])
def test_what_is_no_domain_says_what_to_write(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody guesses a syntax at once; the message shows it."""
    with pytest.raises(SystemExit) as exit_:
        _invocation.read([*WORDS, "--space", written, "--", "true"])
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert "write NAME=VALUE" in message or 'choice("a","b")' in message or "write numbers" in message


def test_a_pattern_follows_from_the_name() -> None:
    """A program that prints `rmse=0.3` needs no regular expression."""
    assert _search_values.objective("val.rmse", "minimize", None).pattern == r"val\.rmse=(\S+)"
    assert _search_values.objective("rmse", "minimize", "r=(.)").pattern == "r=(.)"
