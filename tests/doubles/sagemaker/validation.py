"""What AWS refuses before it looks at anything: constraints of the service model, in AWS's words.

Like AWS, an error quotes the whole value that a wrong member stands in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.loaders import Loader

from .faults import Refused

# Unicode's categories Zs, Zl and Zp; Python's own class has tabs and line ends beside them, which AWS refuses in tags.
_SEPARATORS = "".join(chr(code) for code in range(0x3001) if unicodedata.category(chr(code)).startswith("Z"))
_NUMBERS = ("integer", "long", "float", "double")


@cache
def model() -> dict[str, Any]:
    """Return botocore's model of SageMaker."""
    loaded: dict[str, Any] = Loader().load_service_model("sagemaker", "service-2")
    return loaded


def check(operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationException if `request` breaks a constraint."""
    check_shape(model(), model()["operations"][operation]["input"]["shape"], request, "ValidationException")


def check_shape(service: dict[str, Any], shape: str, request: dict[str, Any], code: str) -> None:
    """Raise an error of this code if `request` breaks a constraint of a shape of a service's model."""
    found = list(_breaches(service["shapes"], shape, "", request))
    if found:
        plural = "s" if len(found) > 1 else ""
        quoted = [
            f"Value '{_quoted(value)}' at '{path}' failed to satisfy constraint: {rule}" for path, value, rule in found
        ]
        raise Refused(code, f"{len(found)} validation error{plural} detected: {'; '.join(quoted)}")


def _breaches(shapes: Any, name: str, path: str, value: Any) -> Iterator[tuple[str, Any, str]]:
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        yield from _structure(shapes, shape, path, value)
    elif kind == "list":
        yield from _size(shape, path, value, len(value))
        for index, item in enumerate(value):
            yield from _breaches(shapes, shape["member"]["shape"], f"{path}.{index + 1}.member", item)
    elif kind == "map":
        yield from _map(shapes, shape, path, value)
    elif kind == "string":
        yield from _text(shape, path, value)
    elif kind in _NUMBERS:
        yield from _number(shape, path, value)


def _structure(shapes: Any, shape: Any, path: str, value: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for required in shape.get("required", ()):
        if required not in value:
            yield _join(path, required), "null", "Member must not be null"
    for member, item in value.items():
        if member not in shape["members"]:
            raise Refused("SerializationException", f"unknown member {member}")
        yield from _breaches(shapes, shape["members"][member]["shape"], _join(path, member), item)


def _number(shape: Any, path: str, value: float) -> Iterator[tuple[str, Any, str]]:
    if "max" in shape and value > shape["max"]:
        yield path, value, f"Member must have value less than or equal to {shape['max']}"
    if value < shape.get("min", value):
        yield path, value, f"Member must have value greater than or equal to {shape['min']}"


def _map(shapes: Any, shape: Any, path: str, value: dict[str, str]) -> Iterator[tuple[str, Any, str]]:
    yield from _size(shape, path, value, len(value))
    for part, items in (("key", list(value)), ("value", list(value.values()))):
        rules = {rule for item in items for _, _, rule in _breaches(shapes, shape[part]["shape"], path, item)}
        if rules:
            yield path, value, f"Map {part} must satisfy constraint: [{', '.join(sorted(rules))}]"


def _text(shape: Any, path: str, value: str) -> Iterator[tuple[str, Any, str]]:
    yield from _size(shape, path, value, len(value))
    if "enum" in shape and value not in shape["enum"]:
        yield path, value, f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]"
    if "pattern" in shape and not _pattern(shape["pattern"]).fullmatch(value):
        yield path, value, f"Member must satisfy regular expression pattern: {shape['pattern']}"


def _size(shape: Any, path: str, value: Any, size: int) -> Iterator[tuple[str, Any, str]]:
    if "max" in shape and size > shape["max"]:
        yield path, value, f"Member must have length less than or equal to {shape['max']}"
    if size < shape.get("min", 0):
        yield path, value, f"Member must have length greater than or equal to {shape['min']}"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    classes = {r"\p{L}": r"^\W\d_", r"\p{Z}": _SEPARATORS, r"\p{N}": r"\d", r"\p{Alnum}": "a-zA-Z0-9"}
    if r"\p{L}\p{Z}\p{N}_" in text:
        return re.compile(text.replace(r"\p{L}\p{Z}\p{N}_", rf"\w{_SEPARATORS}"))
    for java, python in classes.items():
        text = text.replace(java, python)
    return re.compile(text)


def _quoted(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_quoted(item)}" for key, item in value.items()) + "}"
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list) else str(value)


def _join(path: str, member: str) -> str:
    member = member[0].lower() + member[1:]
    return f"{path}.{member}" if path else member
