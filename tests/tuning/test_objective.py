"""The objective out of a log: the last capture counts, and only a finite number is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lyftlearn.backend import LogLine
from lyftlearn.tuning.objective import read_objective

PATTERN = r"rmse=(\S+)"
BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)


def lines(*texts: str, node: int = 0, at: float = 0.0) -> list[LogLine]:
    return [LogLine(node, BEGAN + timedelta(seconds=at + place), text) for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (lines("rmse=3", "epoch 2", "rmse=0.5", "done"), 0.5),
        (lines("rmse=3 rmse=2"), 2.0),
        (lines("rmse=-1e-3"), -0.001),
        (lines("rmse=7", at=5) + lines("rmse=1", node=1), 7.0),
        (lines("rmse=7") + lines("rmse=1", node=1, at=5), 1.0),
        (lines("rmse=0"), 0.0),
    ],
)
def test_the_last_capture_of_any_node_counts(output: list[LogLine], value: float) -> None:
    """A program prints its objective again and again; the last is what the model has in the end."""
    assert read_objective(PATTERN, output).value == value


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "abc", "1.2.3"])
def test_what_is_no_finite_number_is_no_objective(text: str) -> None:
    """A model that diverged in the end is not as good as it was before."""
    reading = read_objective(PATTERN, lines("rmse=0.1", f"rmse={text}"))
    assert reading.value is None
    assert text in reading.message


def test_no_match_quotes_the_last_lines() -> None:
    """Whoever wrote the pattern sees beside it what it should have matched."""
    reading = read_objective(PATTERN, lines("a", "b", "RMSE: 3", "kept", "saved to s3://user:secret-word@bucket"))
    assert reading.value is None
    assert "RMSE: 3 | kept | saved" in reading.message
    assert PATTERN.replace("\\", "\\\\") in reading.message
    assert "secret-word" not in reading.message


def test_no_output_is_said() -> None:
    """A program that prints nothing is another mistake than a pattern that does not fit."""
    assert "printed nothing" in read_objective(PATTERN, []).message


def test_a_group_that_captures_nothing_is_passed_over() -> None:
    """An optional group may not take part in a match."""
    assert read_objective(r"loss(?:=([0-9.]+))?", lines("loss=3", "loss is logged")).value == 3.0
