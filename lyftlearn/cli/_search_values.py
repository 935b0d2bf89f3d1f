"""What is searched, as it is written on a command line."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any, cast

from lyftlearn.cli._values import assignment
from lyftlearn.types import JSON, Choice, IntUniform, Objective, Uniform

REMEDY = 'write uniform(0,1), log(1e-4,0.1), int(2,8), int-log(1,1024) or choice("a","b")'
_DOMAIN = re.compile(r"\s*(uniform|log|int|int-log|choice)\s*\((.*)\)\s*", re.DOTALL)


def domain(text: str) -> tuple[str, Uniform | IntUniform | Choice]:
    """Read `NAME=DOMAIN`. What is in the brackets is JSON, so that types are certain."""
    name, written = assignment(text)
    match = _DOMAIN.fullmatch(written)
    if match is None:
        raise argparse.ArgumentTypeError(f"{written!r} is no domain: {REMEDY}")
    values = _values(match[1], match[2])
    if match[1] == "choice":
        return name, Choice(values)
    if len(values) != 2:
        raise argparse.ArgumentTypeError(f"{written!r} needs a low and a high end: {REMEDY}")
    low, high = (cast("Any", value) for value in values)  # the call checks them
    is_log = match[1] in ("log", "int-log")
    if match[1].startswith("int"):
        return name, IntUniform(low=low, high=high, log=is_log)
    return name, Uniform(low=low, high=high, log=is_log)


def objective(name: str, goal: Any, pattern: str | None) -> Objective:
    """Return the objective; without a pattern, what `NAME=NUMBER` captures."""
    return Objective(name=name, goal=goal, pattern=pattern or rf"{re.escape(name)}=(\S+)")


def _values(kind: str, text: str) -> list[JSON]:
    try:
        found: list[JSON] = json.loads(f"[{text}]")
    except (ValueError, RecursionError) as exc:
        hint = 'texts stand in quotes, as in choice("a","b")' if kind == "choice" else "write numbers"
        raise argparse.ArgumentTypeError(f"{kind}({text}) cannot be read ({exc}): {hint}") from exc
    return found
