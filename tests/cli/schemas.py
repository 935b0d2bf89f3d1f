"""What commands print with --json, held against the schema that is published with the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PUBLISHED = REFERENCE / "lyftlearn-json.schema.json"
_OF_WORDS = {"train": "job", "process": "job", "predict": "job", "tune": "job", "apply": "job",
    "serve": "job", "cost": "cost", "jobs": "jobs", "top": "jobs",
    "wait": "jobs", "stop": "jobs", "status": "status", "logs": "line", "download": "download", "trials": "trials",
    "plan": "plan", "explain": "decision", "backends": "backends", "config": "config", "doctor": "checks",
    "clean": "removed", "migration report": "migration-report", "migration status": "migration-status",
    "migration guard": "migration-guard",
    "migration switch": "migration-switch", "migration autopilot": "migration-autopilot",
    "parity run": "parity", "parity show": "parity", "parity run --serve": "serving-parity", "notebook": "notebook",
    "notebook start": "job"}  # fmt: skip


def check(words: Sequence[str], out: str, err: str) -> None:
    """Raise for a document of a command that the schema does not have so; what prints no document is not looked at."""
    if "--json" not in words[: [*words, "--"].index("--")]:
        return
    name = _OF_WORDS.get(" ".join(words[:3])) or _OF_WORDS.get(" ".join(words[:2])) or _OF_WORDS.get(words[0])
    assert name is not None, f"lyftlearn {words[0]} --json prints a document that no schema describes"
    follows = "--follow" in words and name == "job"
    for line in _documents(out, whole=name == "parity"):
        document = json.loads(line)
        is_line = follows and isinstance(document, dict) and "line" in document
        validate("line" if is_line else name, document)
    for line in err.splitlines():
        if line.startswith('{"error"'):
            validate("error", json.loads(line))


def validate(name: str, document: Any) -> None:
    """Raise for a document that has other fields than the schema says: a field that it does not know must be added."""
    error = next(_validator(name).iter_errors(document), None)
    if error is not None:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise AssertionError(f"{name}{where}: {error.message[:500]}")


def _documents(out: str, *, whole: bool) -> list[str]:
    return ([out] if out.strip() else []) if whole else out.splitlines()


@cache
def _validator(name: str) -> Any:
    import jsonschema  # type: ignore[import-untyped]

    schema = _closed(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    return jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{name}"})


def _closed(schema: Any) -> Any:
    """Return the schema without room for more fields."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(one) for name, one in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {**closed, "additionalProperties": False} if is_object else closed
