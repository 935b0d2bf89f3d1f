"""A digest of everything that the matrix speaks of: it changes with the code, and not with comments or layout."""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest() -> str:
    """The digest of the library, the backends and the call sites, as they are now."""
    found = hashlib.sha256()
    for path in files():
        found.update(f"{path.relative_to(ROOT)}\n{_READERS.get(path.suffix, _as_it_is)(path)}\n".encode())
    return found.hexdigest()[:16]


def files() -> Iterator[Path]:
    """Yield what a result can depend on, in order."""
    for directory in ("lyftlearn", "backends", "tests/callsites"):
        for path in sorted((ROOT / directory).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix in (*_READERS, ".txt", ".csv", ".sh"):
                yield path


def meaning_of(path: Path) -> str:
    """What a program says, without what only people read."""
    return json.dumps(_meaning(ast.parse(path.read_text(encoding="utf-8"))))


def _meaning(node: Any) -> Any:
    """A tree without docstrings and positions; without what is empty, too, which differs between versions of Python."""
    if isinstance(node, list):
        return [_meaning(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, _DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    return [type(node).__name__, {name: _meaning(value) for name, value in fields.items()}]


def _document(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return json.dumps(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text), sort_keys=True)


def _as_it_is(path: Path) -> str:
    return path.read_text(encoding="utf-8")


_READERS: dict[str, Callable[[Path], str]] = {".py": meaning_of, ".toml": _document, ".json": _document}
