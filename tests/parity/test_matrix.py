"""docs/reference/parity.md speaks of the code as it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity import code_digest, matrix
from tests.parity.matrix import bad
from tests.parity.pages import render
from tests.parity.suites import parts_of_the_suite

DOCS = Path(__file__).parents[2] / "docs" / "reference"
digest = functools.cache(code_digest.digest)
DOCUMENT = json.loads((DOCS / "parity.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _code_is_read_once() -> Iterator[None]:
    """A thousand files take seconds, and none changes meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "digest", digest)
        yield


def test_a_change_does_not_make_the_page_wrong() -> None:
    """A contributor who changes a line of code has no ten minutes, and two branches would collide in one file."""
    makefile = (DOCS.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert "tests.parity.matrix --check" in makefile.partition("\nrelease-check:")[2].partition("\n\n")[0]


def test_a_release_needs_a_matrix_of_its_own_code() -> None:
    """What was measured before a change says nothing about what is released."""
    measured = {**DOCUMENT, "code": digest()}
    old = {**measured, "code": "0" * 16}
    assert "docs/reference/parity.json is older than the code: run `make parity`" in matrix.release_faults(old)
    assert not any("older" in fault for fault in matrix.release_faults(measured))


@pytest.mark.parametrize(("faults", "code"), [([], None), (["one", "another"], "one\nanother")])
def test_a_release_may_be_made_where_nothing_is_wrong(
    monkeypatch: pytest.MonkeyPatch, faults: list[str], code: str | None
) -> None:
    """Whoever makes it asks the exit code: an empty text would be a failure without a word."""
    monkeypatch.setattr(matrix, "release_faults", lambda _: faults)
    monkeypatch.setattr("sys.argv", ["matrix", "--check"])
    with pytest.raises(SystemExit) as ended:
        matrix.main()
    assert ended.value.code == code


@pytest.mark.parametrize("part", ["conformance", "call sites"])
def test_a_release_needs_every_part(part: str) -> None:
    """A backend that was left out would look like parity."""
    cut = {**DOCUMENT, part: {name: tests for name, tests in DOCUMENT[part].items() if name != "sagemaker"}}
    assert any("sagemaker" in fault and part.split(maxsplit=1)[0] in fault for fault in matrix.release_faults(cut))


def test_the_page_says_what_came_of_it() -> None:
    """A table that somebody has touched up measures nothing."""
    assert (DOCS / "parity.md").read_text(encoding="utf-8") == render(DOCUMENT), (
        "run `python -m tests.parity.matrix --render`"
    )


def test_the_page_has_a_row_for_everything_that_is_there() -> None:
    """What was added after the measurement is on the page as not run, and not left out of it."""
    page = render(DOCUMENT)
    scripts = [path.stem for path in (Path(__file__).parents[1] / "callsites" / "scripts").glob("*.py")]
    parts = [name.removesuffix("Conformance") for name in parts_of_the_suite().values()]
    heads = [*(f"| [{name}](" for name in scripts), *(f"| {part}: " for part in parts)]
    assert [head for head in heads if head not in page] == []


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
