"""Values as texts: JSON that can be shown anywhere, and what is shown of long ones."""

from __future__ import annotations

import json

from lyftlearn.types import JSON

_CUT = "..."


def json_text(value: JSON) -> str:
    """Return one text for equal values: JSON with sorted keys, in which nothing unprintable is left unescaped.

    1, 1.0, true and "1" have different texts.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def kind(text: str | None) -> str:
    """Return the JSON type of a value by its text; "absent" for None."""
    if text is None:
        return "absent"
    return {'"': "text", "{": "object", "[": "list", "t": "truth", "f": "truth", "n": "null"}.get(text[:1], "number")


def difference(one: str, other: str) -> tuple[int, int]:
    """Return how many characters two texts have in common at their beginning, and then at their end."""
    start = _common(one, other)
    return start, _common(one[start:][::-1], other[start:][::-1])


def _common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def excerpt(text: str, against: str, length: int) -> str:
    """Return at most `length` characters of a text: those around its first difference from another."""
    if len(text) <= length:
        return text
    start = difference(text, against)[0] if text != against else 0
    first = 0 if start < length // 2 else min(start - length // 4, len(text) - length)
    head = _CUT if first else ""
    tail = _CUT if first + length < len(text) else ""
    return f"{head}{text[first + len(head) : first + length - len(tail)]}{tail}"
