"""The lines of a user's command, laid side by side."""

from __future__ import annotations

from collections.abc import Sequence

from lyftlearn.parity._collectors import LINES, Facts, mask
from lyftlearn.parity._lines import lay_out
from lyftlearn.parity.redaction import Redactor

REDACT = Redactor(b"k" * 64, [], {})


def laid_out(*runs: Sequence[str], secrets: Facts | None = None) -> list[Facts]:
    facts: list[Facts] = [
        {LINES: list(lines), "command status": "succeeded", "command message": "", **(secrets or {})} for lines in runs
    ]
    lay_out(facts, REDACT)
    return [{path: value for path, value in found.items() if path.startswith("command line")} for found in facts]


def test_a_line_more_moves_no_other() -> None:
    """A warning at the top would make every line of a log differ."""
    first, second = laid_out(["one", "two", "three"], ["warning", "one", "two", "three"])
    assert first == {"command lines": 3, "command line 1": "one", "command line 2": "two", "command line 3": "three"}
    assert second == {**first, "command lines": 4, "command line 0 and 1 more": "warning"}


def test_a_line_less_is_absent_and_a_changed_one_keeps_its_number() -> None:
    """What differs is read beside what it differs from."""
    _, lost, changed = laid_out(["a", "b", "c"], ["a", "c"], ["a", "B", "c"])
    assert lost == {"command lines": 2, "command line 1": "a", "command line 3": "c"}
    assert changed == {"command lines": 3, "command line 1": "a", "command line 2": "B", "command line 3": "c"}


def test_long_logs_are_compared_by_the_hundred() -> None:
    """A row for each of a million lines is read by nobody."""
    lines = [f"line {number}" for number in range(1000)]
    first, second = laid_out(lines, [*lines[:650], "other", *lines[651:]])
    differ = {path for path in first if first[path] != second[path]}
    assert differ == {"command lines from 601"}
    assert len(first) == 1 + 300 + 7


def test_a_secret_that_nobody_here_knows_is_taken_out() -> None:
    """The client never sees a secret; the probe tells its length and fingerprint, and that is enough to find it."""
    secret = b"correct horse"
    mark = REDACT.fingerprint(secret)
    told: Facts = {"secrets db PASSWORD length": len(secret), "secrets db PASSWORD value": mark}
    (found,) = laid_out(["say: correct horse, correct horse!", "caf\u00e9"], secrets=told)
    hidden = f"<13 characters {mark}>"
    assert found["command line 1"] == f"say: {hidden}, {hidden}!"
    assert found["command line 2"] == "caf\u00e9"


def test_a_command_that_was_not_observed_has_no_lines() -> None:
    """No lines and no answer are two things."""
    facts: list[Facts] = [{LINES: ["a"], "command status": "succeeded", "command message": ""}, {}]
    lay_out(facts, REDACT)
    assert facts[1] == {}


def test_times_and_ids_are_masked() -> None:
    """They differ in every run, and say nothing."""
    text = mask("2026-01-31T08:00:00.123Z eta-tlaaaaaaaaaaa at 2026-01-31 08:00:00,5 ok", "eta-tlaaaaaaaaaaa")
    assert text == "<time> <job> at <time> ok"
