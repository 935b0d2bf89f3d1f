"""Observations and rules that the tests of the comparison share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lyftlearn.parity._compare import compare
from lyftlearn.parity._model import Observation, Parity, Verdict
from lyftlearn.parity._rules import Rule, Rules

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Facts = dict[str, Any]


def rule(*patterns: str, allowed: bool = False, values: tuple[str, ...] = (), backends: tuple[str, ...] = ()) -> Rule:
    return Rule(
        allowed=allowed,
        row=f"row of {patterns[0]}",
        reason="as it is" if allowed else "",
        patterns=patterns,
        values=values,
        backends=backends,
    )


RULES = Rules((rule("free **", allowed=True), rule("kept **")))


def compared(*runs: Facts, rules: Rules = RULES, **others: Facts | list[Facts]) -> Parity:
    """Hold facts of other backends against the reference's runs."""
    return compare(
        [Observation(backend="old", facts=facts) for facts in runs],
        [
            Observation(backend=name, facts=facts)
            for name, found in others.items()
            for facts in (found if isinstance(found, list) else [found])
        ],
        started_at=STARTED,
        seconds=61,
        rules=rules,
    )


def verdicts(parity: Parity, name: str = "new") -> dict[str, Verdict]:
    return {row.path: row.cells[name].verdict for row in parity.rows}


def mixed() -> Parity:
    """Return a comparison with every verdict, of three backends."""
    old: dict[str, Any] = {f"kept equal {number}": number for number in range(12)}
    old |= {
        "kept HOME": "/home/app",
        "kept exit 37": 37,
        "kept long": "x" * 700 + "|" + "y" * 50,
        "free host": "pod-a",
        "free kernel": "6.1",
        "other limit": [1024, 4096],
        "noise time": 1.5,
        "quiet a": None,
        "quiet b": True,
    }
    other = old | {"free host": "algo-1", "noise time": 9.25}
    broken = other | {"kept HOME": "/root", "kept long": "x" * 700 + "|" + "z" * 50, "other limit": [9, 9]}
    del broken["kept exit 37"]
    return compared(old, old | {"noise time": 2.5}, alike=other, broken=broken, same=old)
