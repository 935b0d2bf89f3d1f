"""What a comparison is asked for."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from lyftlearn.parity._observe import ComparisonConfig
from lyftlearn.parity._trials import SUBJECTS

_WITHOUT_COMMAND = SUBJECTS.keys() - {"command"}


@pytest.mark.parametrize(
    ("command", "only", "whole"),
    [
        (None, (), True),
        (None, _WITHOUT_COMMAND, True),
        (None, ["statsd"], False),
        (None, ["exit 37"], False),
        (None, [*(_WITHOUT_COMMAND - {"exit"}), "exit 37"], False),
        ("true", (), True),
        ("true", _WITHOUT_COMMAND, False),
        ("true", SUBJECTS, True),
    ],
)
def test_a_part_is_not_the_whole(command: str | None, only: Collection[str], *, whole: bool) -> None:
    """Evidence of a whole comparison is one that looked at everything, however it was asked for."""
    order = ComparisonConfig(on=["a", "b"], command=command, only=only)
    assert order.is_whole is whole
