"""The lines of the user's command: laid side by side, and freed of secrets that nobody here knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import cast

from lyftlearn.parity._collectors import LINES, Facts
from lyftlearn.parity.redaction import Redactor
from lyftlearn.types import JSON

_ONE_BY_ONE = 300
_BLOCK = 100
_SHORTEST = 4  # characters of a secret that is looked for inside a line; a shorter one would be found in every word


def lay_out(runs: Sequence[Facts], redact: Redactor) -> None:
    """Replace the lines of each run by facts that compare: each under the number of the first run's line it matches.

    Those beyond the first 300 are compared by the hundred.
    """
    lines = [cast("list[str]", facts.pop(LINES, [])) for facts in runs]
    marks = {mark for facts in runs for mark in _marks(facts)}
    for facts, own in zip(runs, lines, strict=True):
        if "command status" in facts:
            facts.update(_line_facts(lines[0], own, redact, marks))
            facts["command message"] = _redact(str(facts["command message"]), redact, marks)


def _line_facts(reference: Sequence[str], lines: Sequence[str], redact: Redactor, marks: set[tuple[int, str]]) -> Facts:
    aligned = _align(reference[:_ONE_BY_ONE], lines[:_ONE_BY_ONE])
    found: Facts = {"command lines": len(lines)}
    found |= {path: _redact(text, redact, marks) for path, text in aligned}
    for start in range(_ONE_BY_ONE, len(lines), _BLOCK):
        block = "\n".join(lines[start : start + _BLOCK])
        found[f"command lines from {start + 1}"] = redact.fingerprint(block.encode())
    return found


def _align(reference: Sequence[str], lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each line with the path of the reference's line that it stands for, or stands after."""
    for _, low, high, start, end in SequenceMatcher(None, reference, lines, autojunk=False).get_opcodes():
        paired = min(high - low, end - start)
        for offset in range(paired):
            yield f"command line {low + offset + 1}", lines[start + offset]
        for offset in range(start + paired, end):
            yield f"command line {low + paired} and {offset - start - paired + 1} more", lines[offset]


def _marks(facts: Mapping[str, JSON]) -> Iterator[tuple[int, str]]:
    """Yield length and fingerprint of each secret, and of each of its lines, as the probe told them."""
    for path, value in facts.items():
        if path.startswith("secrets ") and path.endswith(" lines"):
            yield from ((int(str(length)), str(mark)) for length, mark in cast("list[list[JSON]]", value))
        if path.startswith("secrets ") and path.endswith(" value"):
            yield int(str(facts[f"{path.removesuffix('value')}length"])), str(value)


def _redact(text: str, redact: Redactor, marks: set[tuple[int, str]]) -> str:
    """Return a text without the secrets that `marks` tell: no value is known here, but a window's fingerprint is."""
    data = text.encode()
    for length, mark in sorted(marks, reverse=True):
        data = _remove(data, length, mark, redact)
    return redact.text(data.decode("utf-8", "replace"))


def _remove(data: bytes, length: int, mark: str, redact: Redactor) -> bytes:
    if length < _SHORTEST:
        return f"<{mark}>".encode() if length and redact.fingerprint(data) == mark else data
    for start in range(len(data) - length + 1):
        if redact.fingerprint(data[start : start + length]) == mark:
            rest = _remove(data[start + length :], length, mark, redact)
            return data[:start] + f"<{length} characters {mark}>".encode() + rest
    return data
