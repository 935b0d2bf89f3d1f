"""Hyperparameters to JSON text, exactly: what goes in comes out with its types, or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_BYTES = 16 * 1024**2
_MAX_DEPTH = 100  # far below where JSON readers stop, Python's at about 1000


def json_text(path: str, value: Any, faults: list[tuple[str, str]]) -> str:
    """Return `value` as compact JSON, or append every reason why it is none and return `{}`."""
    found = list(_problems(path, value, 0))
    if found:
        faults.extend(found)
        return "{}"
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_BYTES:
        faults.append((path, f"is {size} bytes of JSON, and at most {MAX_BYTES} fit: pass what is large as an input"))
    return text


def _problems(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _MAX_DEPTH:
        yield path, f"is nested more than {_MAX_DEPTH} levels deep: make it flatter"
    elif isinstance(value, dict | Mapping):
        for key, item in value.items():
            yield from _key_problems(path, key)
            yield from _problems(f"{path}.{key}", item, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(f"{path}[{index}]", item, depth + 1)
    else:
        yield from _scalar_problems(path, value)


def _key_problems(path: str, key: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(key, str):
        yield path, f"has the key {key!r} of type {type(key).__name__}, which JSON would make a string: write it as one"
    else:
        yield from _scalar_problems(path, key)


def _scalar_problems(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"is {value!r}, which JSON does not have: write a finite number, a string or None"
    elif isinstance(value, str) and not _is_unicode(value):
        yield path, "holds half a surrogate pair, which is no text: write whole characters"
    elif isinstance(value, tuple):
        yield path, "is a tuple, which would arrive as a list: write a list"
    elif value is not None and not isinstance(value, str | bool | int | float):
        yield (
            path,
            f"is of type {type(value).__name__}, which is no JSON: write None, a bool, number, string, list or dict",
        )


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
