"""The page about errors knows every error, reason and exit code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from lyftlearn import errors
from lyftlearn.cli._exit_codes import ExitCode, exit_code
from lyftlearn.types import FailureReason

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROWS = {
    cells[0]: cells for line in PAGE.splitlines() if (cells := [cell.strip() for cell in line.strip("|").split("|")])
}
PUBLIC = [
    kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.LyftLearnError) and not name.startswith("_")
]


@pytest.mark.parametrize("error", PUBLIC, ids=lambda error: error.__name__)
def test_every_error_has_its_cause_its_remedy_and_its_code(error: type[errors.LyftLearnError]) -> None:
    """Whoever meets an error wants to know two things: why it happened, and what to do."""
    section = SECTIONS[error.__name__]
    assert "**Cause.**" in section
    assert "**Remedy.**" in section
    row = ROWS[f"[`{error.__name__}`](#{error.__name__.lower()})"]
    assert row[2] == str(exit_code(error.__new__(error)).value)
    builtin = [base.__name__ for base in error.__bases__ if not issubclass(base, errors.LyftLearnError)]
    assert row[1] == "".join(f"`{name}`" for name in builtin if name != "Exception")


def test_every_reason_of_a_failure_has_a_remedy() -> None:
    """A reason is one word; what to do about it takes a sentence."""
    rows = {reason: ROWS.get(f"`{reason}`", []) for reason in FailureReason}
    assert {reason: len([cell for cell in row if cell]) for reason, row in rows.items()} == dict.fromkeys(rows, 3)


def test_every_exit_code_is_on_the_page() -> None:
    """A script that sees a number looks it up here."""
    table = {row[2] for row in ROWS.values() if len(row) > 2} | set(ROWS)
    assert {str(code.value) for code in ExitCode} - table == set()
