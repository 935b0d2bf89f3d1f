"""What the service would refuse, found before it is asked.

botocore checks that members are known, required ones are there and types are right. Patterns, maxima and enums pass it
unseen; they stand in its service model, from which `service_limits.json` is generated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lyftlearn.backend import Fault
from lyftlearn_sagemaker.record import TAG_CHARACTERS

_ROOT = "CreateTrainingJobRequest"
_CLASSES = {r"\p{L}\p{Z}\p{N}": TAG_CHARACTERS, r"\p{Alnum}": "a-zA-Z0-9"}  # Java's, which the model uses
_LONGEST_SHOWN = 60


def faults(request: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the path of each member of a CreateTrainingJob request that breaks a rule, and the rule."""
    return _check(_shapes(), _ROOT, "", request)


def training_instance_types() -> Sequence[str]:
    """Return every instance type that the service model knows for training."""
    types: Sequence[str] = _shapes()["TrainingInstanceType"]["enum"]
    return types


@cache
def _shapes() -> Mapping[str, Any]:
    table = json.loads((Path(__file__).parent / "service_limits.json").read_text(encoding="utf-8"))
    shapes: Mapping[str, Any] = table["shapes"]
    return shapes


def _check(shapes: Mapping[str, Any], name: str, path: str, value: Any) -> Iterator[Fault]:
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        yield from _check_structure(shapes, shape, path, value)
    elif kind == "list":
        yield from _check_size(shape, path, len(value), "entries")
        for index, item in enumerate(value):
            yield from _check(shapes, shape["member"], f"{path}[{index}]", item)
    elif kind == "map":
        yield from _check_size(shape, path, len(value), "entries")
        for key, item in value.items():
            yield from _check(shapes, shape["key"], f"{path}.{key}", key)
            yield from _check(shapes, shape["value"], f"{path}.{key}", item)
    elif kind == "string":
        yield from (Fault(path, problem) for problem in _text_problems(name, value))
    elif kind in ("integer", "long"):
        yield from _check_size(shape, path, value, "")


def _check_structure(shapes: Mapping[str, Any], shape: Any, path: str, value: Any) -> Iterator[Fault]:
    for name in shape.get("required", ()):
        if name not in value:
            yield Fault(_join(path, name), "is missing")
    for name, item in value.items():
        yield from _check(shapes, shape["members"][name], _join(path, name), item)


def _check_size(shape: Any, path: str, size: int, what: str) -> Iterator[Fault]:
    yield from (Fault(path, problem) for problem in _size_problems(shape, size, what))


def _size_problems(shape: Any, size: int, what: str) -> Iterator[str]:
    counted = f"{size} {what}".strip()
    if "max" in shape and size > shape["max"]:
        yield f"has {counted}, at most {shape['max']} are allowed" if what else f"is {size}, at most {shape['max']}"
    if size < shape.get("min", size):
        yield f"has {counted}, at least {shape['min']} are needed" if what else f"is {size}, at least {shape['min']}"


@lru_cache(maxsize=1024)  # jobs of one configuration say mostly the same
def _text_problems(name: str, value: str) -> Sequence[str]:
    shape = _shapes()[name]
    problems = list(_size_problems(shape, len(value), "characters"))
    if "enum" in shape and value not in shape["enum"]:
        problems.append(f"is {_quote(value)}, which is not one of {_some(shape['enum'])}")
    if "pattern" in shape and not _pattern(shape["pattern"]).fullmatch(value):
        problems.append(f"is {_quote(value)}, which does not match {shape['pattern']}")
    return problems


@cache
def _pattern(text: str) -> re.Pattern[str]:
    for java, python in _CLASSES.items():
        text = text.replace(java, python)
    return re.compile(text)


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(values[:8])
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} others"


def _quote(value: str) -> str:
    return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
