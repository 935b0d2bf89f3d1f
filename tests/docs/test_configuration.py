"""The page about `lyftlearn.toml` and its JSON Schema come from the declarations that read the file."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from docs import configuration_keys
from lyftlearn._contract.options import Option, json_schema
from lyftlearn.config import keys

from .site import DOCS
from .test_examples import PAGES, examples

SCHEMA = json.loads((DOCS / "reference" / "lyftlearn.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
OPTIONS = [
    pytest.param(option, id=f"{name}.{option.key}")
    for name, options in (*keys.TABLES.items(), *configuration_keys.BACKENDS.items())
    for option in options
]


def test_the_page_and_the_schema_are_those_of_the_code() -> None:
    """A key that is added, or a default that changes, is on the page in the same commit."""
    command = [sys.executable, "docs/configuration_keys.py", "--check"]
    checked = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("option", OPTIONS)
def test_an_example_is_one(option: Option) -> None:
    """The example of a key, and its default, are accepted by the code and by the schema."""
    for value in (option.example, option.default):
        if value is not None:
            option.kind.read(value)
            written = json.loads(json.dumps(value))
            table = json_schema([option])
            for name in reversed(option.key.split(".")):
                written = {name: written}
            assert list(Draft202012Validator(table).iter_errors(written)) == []


@pytest.mark.parametrize("page", sorted(page for page in PAGES if examples(page)))
def test_the_schema_accepts_what_the_pages_show(page: str) -> None:
    """An editor that marks a right line as wrong is switched off, and then finds no wrong line either."""
    for example in examples(page):
        assert [error.message for error in VALIDATOR.iter_errors(example)] == []


@pytest.mark.parametrize(
    "text",
    [
        '[jobs]\ntimeuot = "1h"',
        "[jobs]\ntimeout = 3600",
        '[migration]\nstage = "later"',
        '[local]\nparallel = "4"',
        '[local-sagemaker]\nnamespaces = "maybe"',
        "[kubernetes]\nrestarts = true",
        '[sagemaker.models.eta]\nkeep_alvie = "20m"',
        '[sagemaker.instances]\npins = "ml.m5.large"',
        "storage = 3",
    ],
)
def test_the_schema_refuses_what_the_code_refuses(text: str) -> None:
    """A slip of the keyboard is seen where it is made."""
    configured: dict[str, Any] = tomllib.loads(text)
    assert list(VALIDATOR.iter_errors(configured)) != []
