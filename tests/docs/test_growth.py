"""The page of growth shows what was measured, and nothing grows faster than it must."""

from __future__ import annotations

import json

from benchmarks import growing, growth, instructions


def test_the_plots_are_drawn_from_the_committed_figures() -> None:
    """A picture that was drawn once shows the code of last year."""
    grown = json.loads(growth.RESULT.read_text(encoding="utf-8"))["medians"]
    assert growth.PICTURE.read_text(encoding="utf-8") == growth.draw(grown)


def test_nothing_grows_faster_than_its_size() -> None:
    """What takes four times as long for twice as much is a fault that only large teams would meet."""
    grown = json.loads(growth.RESULT.read_text(encoding="utf-8"))["medians"]
    assert set(grown) == set(growing.OPERATIONS)
    assert {name: len(of) for name, of in grown.items() if len(of) < 4} == {}
    assert {name: growth.exponent(of) for name, of in grown.items() if growth.exponent(of) > 1.1} == {}


def test_the_instructions_that_are_quoted_are_those_counted() -> None:
    """A figure that nobody measured again is believed for years."""
    counted = json.loads((growth.RESULT.parent / "instructions.json").read_text(encoding="utf-8"))["medians"]
    page = (growth.ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    quoted = {name: f"| {name} | {millions:.0f} |" for name, millions in counted.items()}
    assert {name for name, line in quoted.items() if line not in page.splitlines()} == set()
    assert set(counted) > set(instructions.PROGRAMS)
