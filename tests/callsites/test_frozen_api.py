"""Every promise of the frozen API has its evidence, and every argument is passed by a call site."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.testing import conformance
from tests.callsites.running import NAMES, SCRIPTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "frozen-api.md"
FUNCTIONS = ("train", "process", "predict", "tune", "notebook", "job", "jobs", "wait")
VALUES = (lyftlearn.Resources, lyftlearn.Uniform, lyftlearn.IntUniform, lyftlearn.Objective)
HANDLES = (lyftlearn.Job, lyftlearn.TuningJob, lyftlearn.Notebook)


def rows() -> Iterator[tuple[str, list[str]]]:
    """Each promise of the page with its evidence."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| promise"):
            promise, evidence = line.strip("| ").rsplit(" | ", 1)
            yield promise, re.findall(r"`([^`]+)`", evidence)


def conformance_tests() -> set[str]:
    classes = [getattr(conformance, name) for name in conformance.__all__]
    return {f"{one.__name__}.{test}" for one in classes for test in vars(one) if test.startswith("test_")}


def test_every_promise_has_evidence_that_exists() -> None:
    """A table that names what is not there proves nothing."""
    found = dict(rows())
    assert len(found) > 40
    assert {promise for promise, evidence in found.items() if not evidence} == set()
    known = {*NAMES, *conformance_tests()}
    assert {name for evidence in found.values() for name in evidence} - known == set()


def passed() -> dict[str, set[str]]:
    """By function, the keywords that call sites pass."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                found[name] |= {keyword.arg for keyword in node.keywords if keyword.arg}
                if name == "show":  # of `find_jobs`, whose conditions are those of `jobs`
                    found["jobs"] |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return found


CALLED = [
    *((name, getattr(lyftlearn.Client, name)) for name in FUNCTIONS),
    *((one.__name__, one) for one in VALUES),
    *((name, method) for one in HANDLES for name, method in vars(one).items() if inspect.isfunction(method)),
]


@pytest.mark.parametrize(("name", "called"), [(name, called) for name, called in CALLED if name[0] != "_"])
def test_every_argument_is_passed(name: str, called: Any) -> None:
    """An argument that no call site passes may mean another thing on each backend, and nobody would notice."""
    keywords = {one.name for one in inspect.signature(called).parameters.values() if one.kind is one.KEYWORD_ONLY}
    assert keywords - passed()[name] == set()
