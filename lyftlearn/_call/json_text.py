"""Hyperparameters to JSON text, exactly: what goes in comes out with its types, or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._text.display import quote
from lyftlearn._text.encoding import is_unicode

MAX_BYTES = 16 * 1024**2
_MAX_DEPTH = 100  # far below where JSON readers stop, Python's at about 1000
_MOST_PROBLEMS = 100
_MOST_DIGITS = 4300  # Python's own limit where integers are read: sys.int_info.default_max_str_digits
_MOST_BITS = 14280  # 4300 digits have at least 14281


def json_text(path: str, value: Any, faults: list[Fault]) -> str:
    """Return `value` as compact JSON, or append every reason why it is none and return `{}`."""
    found = list(islice(_Inspection().problems(path, value), _MOST_PROBLEMS))
    if found:
        faults.extend(found)
        return "{}"
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)
    size = len(text.encode())
    if size > MAX_BYTES:
        faults.append(
            Fault(path, f"is {size} bytes of JSON, and at most {MAX_BYTES} fit: pass what is large as an input")
        )
    return text


class _Inspection:
    """Goes through a value once. What holds itself, or the same thing over and over, ends here and not never."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        self._seen = 0

    def problems(self, path: str, value: Any) -> Iterator[Fault]:
        """Yield what keeps `value` from being JSON."""
        self._seen += 1
        if self._seen > MAX_BYTES:
            if self._seen == MAX_BYTES + 1:
                yield Fault(path, f"has more than {MAX_BYTES} values: pass what is large as an input")
        elif id(value) in self._above:
            yield Fault(path, f"holds itself, and so is nested more than {_MAX_DEPTH} levels deep: write it out")
        elif len(self._above) > _MAX_DEPTH:
            self._seen = MAX_BYTES + 1  # whatever else is wrong with it, this is enough
            yield Fault(path, f"is nested more than {_MAX_DEPTH} levels deep: make it flatter")
        elif isinstance(value, Mapping | list):
            self._above.add(id(value))
            yield from self._inside(path, value)
            self._above.discard(id(value))
        else:
            yield from _scalar_problems(path, value)

    def _inside(self, path: str, value: Mapping[Any, Any] | list[Any]) -> Iterator[Fault]:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.problems(f"{path}[{index}]", item)
            return
        for key, item in value.items():
            yield from _key_problems(path, key)
            yield from self.problems(f"{path}.{quote(key) if not isinstance(key, str) else key}", item)


def _key_problems(path: str, key: Any) -> Iterator[Fault]:
    if not isinstance(key, str):
        yield Fault(
            path,
            f"has the key {quote(key)} of type {type(key).__name__}, which JSON would make a string: write it as one",
        )
    else:
        yield from _scalar_problems(path, key)


def _scalar_problems(path: str, value: Any) -> Iterator[Fault]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, f"is {value!r}, which JSON does not have: write a finite number, a string or None")
    elif isinstance(value, str) and not is_unicode(value):
        yield Fault(path, "holds half a surrogate pair, which is no text: write whole characters")
    elif isinstance(value, tuple):
        yield Fault(path, "is a tuple, which would arrive as a list: write a list")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        yield Fault(
            path, f"has more than {_MOST_DIGITS} digits, which JSON readers refuse: write a number, or a string"
        )
    elif value is not None and not isinstance(value, str | bool | int | float):
        yield Fault(
            path,
            f"is of type {type(value).__name__}, which is no JSON: write None, a bool, number, string, list or dict",
        )
