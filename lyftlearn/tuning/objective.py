"""The objective of a trial, out of what its command printed."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lyftlearn._text.display import printable, quote
from lyftlearn._text.redaction import redact
from lyftlearn.backend import LogLine

_QUOTED_LINES = 3
_QUOTED_LETTERS = 200  # of each


@dataclass(frozen=True)
class ObjectiveReading:
    """A finite number, or None and what was printed in its place."""

    value: float | None
    message: str = ""


def read_objective(pattern: str, lines: Iterable[LogLine]) -> ObjectiveReading:
    """Return the number that the pattern's group captures last, on any node.

    What was captured last counts also where it is no finite number: a model that diverged in the end has no objective.
    """
    expression = re.compile(pattern)
    captured: tuple[datetime, str] | None = None
    last_lines: deque[str] = deque(maxlen=_QUOTED_LINES)
    for line in lines:
        last_lines.append(line.text)
        if captured is None or line.at >= captured[0]:
            captured = next(
                ((line.at, match[1]) for match in reversed([*expression.finditer(line.text)]) if match[1] is not None),
                captured,
            )
    return _no_match(pattern, last_lines) if captured is None else _number(captured[1])


def _number(text: str) -> ObjectiveReading:
    try:
        value = float(text)
    except ValueError:
        return ObjectiveReading(None, f"the objective is {quote(redact(text))}, which is no number")
    if not math.isfinite(value):
        return ObjectiveReading(None, f"the objective is {quote(text)}, which is no finite number")
    return ObjectiveReading(value)


def _no_match(pattern: str, last_lines: Iterable[str]) -> ObjectiveReading:
    quoted = " | ".join(printable(redact(line))[:_QUOTED_LETTERS] for line in last_lines)
    ending = f"its last lines: {quoted}" if quoted else "it printed nothing"
    return ObjectiveReading(None, f"no line of its output matches {quote(pattern)}; {ending}")
