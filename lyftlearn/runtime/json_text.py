"""JSON as `json` reads and writes it. To import that compiles patterns, and would be a third of a container's start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """What `json.loads` tells the scanner that it shares with this module."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int


_RULES: Any = _Rules
_NO_DEFAULT: Any = None


def loads(text: str) -> Any:
    """Return what `json.loads` does, which is asked wherever something is not as it should be."""
    try:
        from _json import make_scanner  # type: ignore[import-not-found,unused-ignore] # CPython's; has no stub

        stripped = text.strip(" \t\n\r")
        value, end = make_scanner(_RULES)(stripped, 0)
        if end == len(stripped):
            return value
    except (ImportError, StopIteration, ValueError, RecursionError):
        pass
    import json

    return json.loads(text)


def dumps(value: Any, comma: str = ", ", colon: str = ": ") -> str:
    """Return what `json.dumps` does."""
    try:
        from _json import encode_basestring_ascii, make_encoder  # type: ignore[import-not-found,unused-ignore]

        encode = make_encoder({}, _NO_DEFAULT, encode_basestring_ascii, None, colon, comma, False, False, True)
        return "".join(encode(value, 0))
    except (ImportError, TypeError, ValueError, RecursionError):
        import json

        return json.dumps(value, separators=(comma, colon))
