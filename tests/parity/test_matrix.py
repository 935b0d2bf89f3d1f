"""docs/parity.md speaks of the code as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.parity import code_digest, suites
from tests.parity.matrix import bad
from tests.parity.pages import render
from tests.platforms import ALL

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = json.loads((DOCS / "parity.json").read_text(encoding="utf-8"))


def test_the_matrix_is_as_new_as_the_code() -> None:
    """What was measured before a change says nothing about what is there now."""
    assert DOCUMENT["code"] == code_digest.digest(), "the code is newer than docs/parity.md: run `make parity`"


def test_the_page_says_what_came_of_it() -> None:
    """A table that somebody has touched up measures nothing."""
    assert (DOCS / "parity.md").read_text(encoding="utf-8") == render(DOCUMENT), "run `make parity`"


def test_every_backend_was_put_under_all_of_it() -> None:
    """A part that was left out would look like parity."""
    parts = set(suites.parts_of_the_suite().values())
    for backend in ALL:
        assert {test.partition(".")[0] for test in DOCUMENT["conformance"][backend]} == parts
        assert len(DOCUMENT["conformance"][backend]) >= len(suites.parts_of_the_suite())
        assert len(DOCUMENT["call sites"][backend]) == len(list(code_digest.ROOT.glob("tests/callsites/scripts/*.py")))
    assert {*DOCUMENT["probe"]["backends"], DOCUMENT["probe"]["reference"]} == set(ALL)


def test_nothing_is_broken_or_unclassed() -> None:
    """The measure of the project."""
    assert bad(DOCUMENT) == []


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("def f():\n    return 1\n", 'def f():\n    """One."""\n\n    # why\n    return 1\n', True),
        ("def f():\n    return 1\n", "def f():\n    return 2\n", False),
        ("x = f'{y:>{z}}'", "x = f'{y:<{z}}'", False),
    ],
)
def test_comments_make_nothing_old(tmp_path: Path, before: str, after: str, same: bool) -> None:
    """Ten minutes are too long to wait after mending a comma."""
    path = tmp_path / "code.py"
    seen = []
    for text in (before, after):
        path.write_text(text)
        seen.append(code_digest.meaning_of(path))
    assert (seen[0] == seen[1]) is same
