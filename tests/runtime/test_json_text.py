"""The runtime's short way to JSON says what `json` says."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.json_text import dumps, loads

from .test_zipapp import PYTHONS

TEXTS = [
    '{"a": [1, 1.10, "007", true, null, -0.0, 1e400], "": {}}',
    " \t\r\n[ ]\n ",
    '"\\ud83d\\ude00 \\u0000 é\u2028"',
    "[NaN, Infinity, -Infinity]",
    '{"a": 1, "a": 2}',
    "123456789012345678901234567890",
    "0",
]
BROKEN = ["", " ", "{", "[1,]", "{'a': 1}", '"\n"', "1 2", "\ufeff{}", "nul", "[" * 100_000, '{"a" 1}', "\u00a01"]
VALUES: list[Any] = [{"a": [1, 1.5, True, None, "é\n\ud800"]}, {1: 2, None: 3, False: 4}, [], {}, math.inf, "x", (1, 2)]


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_the_same(text: str) -> None:
    """A hyperparameter must not depend on who read it."""
    assert repr(loads(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_it_refuses_the_same(text: str) -> None:
    """With the same words."""
    with pytest.raises((ValueError, RecursionError)) as expected:
        json.loads(text)
    with pytest.raises(type(expected.value)) as seen:
        loads(text)
    assert str(seen.value) == str(expected.value)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_it_writes_the_same(value: Any) -> None:
    """Byte for byte, with either kind of separators."""
    assert dumps(value) == json.dumps(value)
    assert dumps(value, ",", ":") == json.dumps(value, separators=(",", ":"))


def test_it_cannot_write_the_same() -> None:
    """What is no JSON is an error, and nothing that refers to itself is written for ever."""
    endless: list[Any] = []
    endless.append(endless)
    for value in ({1, 2}, endless, {(1, 2): 3}):
        with pytest.raises((TypeError, ValueError)):
            dumps(value)


@pytest.mark.parametrize("python", PYTHONS.values(), ids=list(PYTHONS))
def test_every_python_has_what_it_needs(python: Path) -> None:
    """Where the short way is not to be had, the long one is taken: so look whether `json` was loaded."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from json_text import dumps, loads; "
    code += "assert loads(dumps({'a': [1.5, None]})) == {'a': [1.5, None]}; sys.exit('json' in sys.modules)"
    runtime = Path(__file__).parents[2] / "lyftlearn/runtime"
    subprocess.run([python, "-I", "-S", "-B", "-c", code, runtime], check=True)
