"""Write what stands in this directory about the public API, or check that it still holds.

    python docs/api/generate.py            writes frozen-1x.txt
    python docs/api/generate.py --check    fails if it is stale, or if griffe finds a breaking change
    python docs/api/generate.py --release  also takes today's API as the one that must not break: griffe-1x.json

`frozen-1x.txt` has one line for every name, parameter, default and annotation. Its diff is what a reviewer of a widened
API looks at.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from enum import EnumType
from pathlib import Path
from typing import Any

import griffe

import lyftlearn

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FROZEN, BASELINE = HERE / "frozen-1x.txt", HERE / "griffe-1x.json"
_PUBLIC_MODULES = ("_client", "_jobs", "errors", "types")


def surface() -> str:
    """Return the public API, a line for every name."""
    return "".join(f"{line}\n" for name in sorted(lyftlearn.__all__) for line in _lines(name, getattr(lyftlearn, name)))


def breaking_changes() -> list[str]:
    """Return what griffe finds between the released API and this one."""
    old = griffe.Module.from_json(BASELINE.read_text(encoding="utf-8"))
    collection = griffe.ModulesCollection()
    collection["lyftlearn"] = old
    old._modules_collection = collection  # noqa: SLF001 - what loading from files would have set
    return [change.explain(griffe.ExplanationStyle.ONE_LINE) for change in griffe.find_breaking_changes(old, _loaded())]


def _loaded() -> Any:
    return griffe.load("lyftlearn", search_paths=[ROOT], resolve_aliases=True)


def _baseline() -> str:
    document = json.loads(_loaded().as_json())
    document["members"] = {
        name: member
        for name, member in document["members"].items()
        if member["kind"] != "module" or name in _PUBLIC_MODULES
    }
    return json.dumps(_public_part(document), separators=(",", ":"), sort_keys=True) + "\n"


def _public_part(value: Any) -> Any:
    """Leave out docstrings, where on this disk a file stands, and members that are private."""
    if isinstance(value, list):
        return [_public_part(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _public_part(item) for key, item in value.items() if key != "docstring"}
    if "filepath" in kept:
        kept["filepath"] = Path(kept["filepath"]).name
    if "members" in kept:
        kept["members"] = {name: one for name, one in kept["members"].items() if not _private(name)}
    return kept


def _private(name: str) -> bool:
    return name.startswith("_") and name not in (*_PUBLIC_MODULES, "__init__", "__all__", "_Ended")


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, EnumType):
        members: Any = value
        yield f"{name}: {', '.join(f'{member.name}={member.value!r}' for member in members)}"
        return
    if not inspect.isclass(value):
        yield f"{name}{_signature(value)}" if callable(value) else f"{name} = {value}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"{name}({bases})"
    for attribute, annotation in sorted(_annotations(value).items()):
        yield f"{name}.{attribute}: {annotation}"
    for attribute, member in _members(value):
        shown = "" if isinstance(member, property) else _signature(getattr(value, attribute))
        yield f"{name}.{attribute}{shown}{' (property)' if isinstance(member, property) else ''}"


def _annotations(value: type) -> dict[str, str]:
    own = {base: vars(base).get("__annotations__", {}) for base in reversed(value.__mro__)}
    return {name: text for found in own.values() for name, text in found.items() if not name.startswith("_")}


def _members(value: type) -> list[tuple[str, Any]]:
    made_by_users = not issubclass(value, lyftlearn.Job)
    shown = {"__init__"} if made_by_users else set()
    found = [(name, member) for name, member in vars(value).items() if not name.startswith("_") or name in shown]
    return sorted((name, member) for name, member in found if callable(member) or isinstance(member, property))


class _Unquoted(str):
    """An annotation that a signature shows as it was written."""

    __slots__ = ()
    __repr__ = str.__str__


def _signature(value: Any) -> inspect.Signature:
    found = inspect.signature(value)
    parameters = [one.replace(annotation=_unquoted(one.annotation)) for one in found.parameters.values()]
    return found.replace(parameters=parameters, return_annotation=_unquoted(found.return_annotation))


def _unquoted(annotation: Any) -> Any:
    """Return an annotation as users write it who import the names: the client loads none of them before it must."""
    return _Unquoted(annotation.replace("lyftlearn.", "")) if isinstance(annotation, str) else annotation


def main(argv: list[str]) -> int:
    """Write or check, as the arguments say; return the exit code."""
    if argv == ["--check"]:
        stale = FROZEN.read_text(encoding="utf-8") != surface()
        problems = [*(["frozen-1x.txt is stale: make docs-api"] if stale else []), *breaking_changes()]
        print(*(problems or ["the public API is as it was frozen"]), sep="\n")
        return 1 if problems else 0
    FROZEN.write_text(surface(), encoding="utf-8")
    if argv == ["--release"]:
        BASELINE.write_text(_baseline(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
