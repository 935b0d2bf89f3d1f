"""Durations and Kubernetes quantities, from text to numbers."""

from __future__ import annotations

import re
from datetime import timedelta

from lyftlearn._text.display import quote
from lyftlearn.types import Duration

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PART = r"(\d+(?:\.\d+)?)([smhd])"
# The grammar and the suffixes of k8s.io/apimachinery's resource.Quantity.
_QUANTITY = r"(\d+(?:\.\d*)?|\.\d+)(?:([KMGTPE]i|[mkMGTPE])|[eE]([+-]?\d{1,2}))?"
_STEP = 1024
_SUFFIXES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": float(_STEP**power) for power, letter in enumerate("KMGTPE", start=1)
}


def duration(value: Duration) -> timedelta:
    """Return `value` as a timedelta; `"90s"`, `"4h"`, `"1h30m"`. Raises ValueError, saying what to write."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(rf"(?:{_PART})+", value):
        raise ValueError(
            f'{quote(value)} is no duration: write a timedelta, or a number and its unit such as "90s", "4h", "2d"'
        )
    try:
        return timedelta(**_sum_of_parts(value))
    except OverflowError:
        raise ValueError(f"{quote(value)} is longer than a timedelta can be") from None


def _sum_of_parts(value: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for number, unit in re.findall(_PART, value):
        parts[_UNITS[unit]] = parts.get(_UNITS[unit], 0.0) + float(number)
    return parts


def quantity(value: str) -> int:
    """Return a Kubernetes quantity such as `"512Mi"` in bytes, rounded up. Raises ValueError, saying what to write."""
    match = re.fullmatch(_QUANTITY, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{quote(value)} is no quantity: write a number and a unit as text, such as "512Mi" or "64Gi"')
    number, suffix, exponent = match.groups()
    scale = 10.0 ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return -int(-float(number) * scale // 1)


def readable(size: float) -> str:
    """Return a number of bytes as a person writes it: 1536 -> "1.5Ki"."""
    for suffix in ("", "Ki", "Mi", "Gi"):
        if size < _STEP:
            return f"{size:.4g}{suffix}"
        size /= _STEP
    return f"{size:.4g}Ti"
