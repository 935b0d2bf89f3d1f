"""Tables on terminals of every width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from lyftlearn.cli._tables import Table, table_lines

ROWS = [
    ("eta-tl22222222222", "eta", "failed", "local-sagemaker", "user-error: ValueError: " + "the loss is nan " * 9),
    ("a-longer-name-tl22222222222", "日本語", "succeeded", "local", ""),
]
TABLE = Table(
    heads=("id", "name", "status", "backend", "message"),
    rows=ROWS,
    dispensable=("name", "backend", "message"),
    free="message",
)


def lines(width: int) -> list[str]:
    return [line.plain for line in table_lines(TABLE, width)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 300])
def test_no_line_wraps_and_no_value_is_cut(width: int) -> None:
    """A table that wraps is unreadable, and an id that is cut is none."""
    shown = lines(width)
    assert max(map(cell_len, shown)) <= width
    for row in ROWS:
        assert any(row[0] in line for line in shown)
        assert any(f" {row[2]}" in line for line in shown)


def test_columns_go_in_their_order() -> None:
    """What can be done without goes first, and a sentence before it would be a stump."""
    heads = {width: lines(width)[0].split() for width in (40, 70, 200)}
    assert heads == {
        40: ["id", "status"],
        70: ["id", "status", "message"] if "message" in heads[70] else ["id", "status", "backend"],
        200: ["id", "name", "status", "backend", "message"],
    }


def test_only_the_sentence_is_cut() -> None:
    """The end of a message is in `status`; the end of an id is nowhere."""
    shown = lines(100)
    assert shown[1].endswith("…")
    assert [line for line in shown if "…" in line] == [shown[1]]


def test_an_empty_table_has_its_heads() -> None:
    """Nothing to show is no error."""
    assert [line.plain for line in table_lines(Table(heads=("id", "status"), rows=[]), 80)] == ["id  status"]


def test_states_have_colours() -> None:
    """A failed job among fifty is found by its colour."""
    styles = {str(span.style) for line in table_lines(TABLE, 100) for span in line.spans}
    assert {"red", "green"} <= styles
