"""How a corpus writes things: JSON that a person can read, with placeholders for what differs between machines."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lyftlearn_local
from lyftlearn.config import Config

CONFIG = {"project": "golden", "repository": "rides/golden"}
LOCAL = ("local", "local-kubernetes", "local-sagemaker")
PROPERTIES = (
    *("project", "backend", "storage_url", "output_url", "timeout", "grace", "image", "repository", "team"),
    *("environment", "migration_from", "migration_to", "migration_flag", "migration_flags", "migration_stage"),
    *("migration_default", "migration_ceiling", "migration_cache", "migration_budget", "journal_url", "shadow"),
)

RENAMED = {"migration_flags": "flag_source"}
"""What a property of that name in a corpus is called by now."""


def places(home: Path) -> dict[str, str]:
    """Return placeholder to path on this machine. home: `LYFTLEARN_HOME` of the jobs."""
    return {
        "{{home}}": str(home),
        "{{workspace}}": str(Path(__file__).parent / "workspace"),
        "{{backends}}": str(Path(lyftlearn_local.__file__).resolve().parent.parent),
        "{{python}}": sys.executable,
        "{{bin}}": str(Path(sys.executable).parent),
        "{{bwrap}}": shutil.which("bwrap") or "/usr/bin/bwrap",
    }


def scrub(text: str, known: Mapping[str, str]) -> str:
    """Return `text` with placeholders for paths, longer paths first."""
    for placeholder, path in sorted(known.items(), key=lambda item: -len(item[1])):
        text = text.replace(path, placeholder)
    return text


def fill(text: str, known: Mapping[str, str]) -> str:
    """Return `text` with paths for placeholders."""
    for placeholder, path in known.items():
        text = text.replace(placeholder, path)
    return text


def plain(value: Any) -> Any:
    """Return what JSON has for a value of ours."""
    return dict(value) if isinstance(value, Mapping) else value if isinstance(value, int | float) else str(value)


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table."""
    with sqlite3.connect(path) as journal:
        journal.row_factory = sqlite3.Row
        tables = [name for (name,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [dict(row) for row in journal.execute(f"SELECT * FROM {table}")] for table in tables}


def remote_config(path: Path, home: Path) -> dict[str, Any]:
    """Return the configuration of the tests' platforms, without what belongs to this machine."""
    tables = tomllib.loads(path.read_text())
    for name in ("kubernetes", "sagemaker", *LOCAL):
        tables[name].pop("metrics", None)
        tables[name].pop("secrets", None)
    return {**tables, **CONFIG, "home": str(home)}


def properties(config: Config) -> dict[str, Any]:
    """Return what a configuration means, under the names that corpora have for it."""
    return {name: getattr(config, RENAMED.get(name, name)) for name in PROPERTIES}
