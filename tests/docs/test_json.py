"""The schema of what commands print for programs: current, true, and of every command.

The tests of the command line hold each document that they get to it: `tests/cli/conftest.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn.cli import _parser
from tests.cli import schemas

from .site import DOCS

SCHEMA = json.loads(schemas.PUBLISHED.read_text(encoding="utf-8"))


def test_the_schema_and_its_page_are_those_of_the_code() -> None:
    """They are written from the classes that are printed."""
    command = [sys.executable, "docs/json_schemas.py", "--check"]
    ran = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Yield the commands that have --json."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if any("--json" in action.option_strings for action in parser._actions):
        yield name
    for action in below:
        for word, child in action.choices.items():
            yield from commands(child, f"{name} {word}".strip())


def test_every_command_with_json_has_a_document() -> None:
    """A program that reads what no schema describes reads it by guessing."""
    page = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    printing = set(commands(_parser.parser())) - {"collect", "dashboard"}  # which have only errors to tell a program
    missing = {name for name in printing if f"`{name}`" not in page and f"`{name.split()[0]}`" not in page}
    assert {"train", "jobs", "migration guard", "apply"} <= printing
    assert missing == set()
    assert {schemas._OF_WORDS.get(name) or schemas._OF_WORDS[name.split()[0]] for name in printing} <= set(
        SCHEMA["$defs"]
    )


def test_a_kept_plan_is_what_the_schema_says(tmp_path: Path) -> None:
    """Whoever reviews plans by a program reads this file."""
    client = Client(config={"home": str(tmp_path)})
    planned = ops.plan("train", client=client, model="eta", command="true", hyperparameters={"a": None}, timeout="1h")
    document = json.loads(json.dumps(ops.plan_document(planned, client=client, owners=["alice"])))
    schemas.validate("kept-plan", document)
    with pytest.raises(AssertionError, match="seal"):
        schemas.validate("kept-plan", {**document, "seal": "x"})


@pytest.mark.parametrize("change", [{"new": 1}, {"id": 5}, {"status": "up"}, {"created_at": None}])
def test_a_document_that_changed_is_noticed(change: dict[str, object]) -> None:
    """The check of the command line's tests can fail: for a field that is new, missing, or of another type."""
    job: dict[str, object] = {
        "id": "eta-tlaaaaaaaaaaa", "kind": "train", "name": "eta", "labels": {}, "status": "pending", "reason": None,
        "message": "", "exit_code": None, "attempt": 1, "created_at": "2026-01-01T00:00:00+00:00", "started_at": None,
        "finished_at": None, "backend": "local", "stage": None,
        "decision": {"backend": "local", "stage": None, "reason": "", "source": "", "fell_back": False},
        "next_steps": [],
    }  # fmt: skip
    schemas.check(["jobs", "--json"], json.dumps([job]), "")
    with pytest.raises(AssertionError):
        schemas.check(["jobs", "--json"], json.dumps([{**job, **change}]), "")
    with pytest.raises(AssertionError):
        schemas.check(["nonsense", "--json"], "{}", "")
    del job["attempt"]
    with pytest.raises(AssertionError, match="attempt"):
        schemas.check(["train", "--json", "eta", "--", "x"], json.dumps(job), "")
