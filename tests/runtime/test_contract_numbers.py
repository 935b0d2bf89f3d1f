"""Every promise of the container contract has a number, a test that names it, and a broken runtime that it finds."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from .mutants import MUTANTS

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs/reference/container-contract.md").read_text()
PROMISED = set(re.findall(r"\bC-[A-Z]+-\d+\b", CONTRACT.replace("such as C-ENV-3", "")))
RUNTIME = ROOT / "lyftlearn/runtime"


def named() -> dict[str, set[str]]:
    """Each number with the tests that name it, as pytest addresses them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "pytest.mark.contract" not in path.read_text():
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for number in _numbers(node):
                    found[number].add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def _numbers(function: ast.FunctionDef) -> list[str]:
    marks = [mark for mark in function.decorator_list if ast.unparse(mark).startswith("pytest.mark.contract(")]
    return [str(ast.literal_eval(argument)) for mark in marks for argument in mark.args]  # type: ignore[attr-defined]


def test_every_number_has_a_test_and_every_test_a_number() -> None:
    """A promise that nothing tests is a wish; a test of a promise that is gone holds nobody to anything."""
    assert set(named()) == PROMISED


def test_every_number_stands_once() -> None:
    """Whoever looks one up must find one sentence."""
    numbers = re.findall(r"\bC-[A-Z]+-\d+\b", CONTRACT.replace("such as C-ENV-3", ""))
    assert sorted(numbers) == sorted(set(numbers))


@pytest.mark.parametrize("title", ["What the command finds", "How it ends", "How each substrate provides it"])
def test_every_row_has_a_number(title: str) -> None:
    """A row that is added without one would be promised and never held."""
    section = CONTRACT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not re.search(r"\| C-[A-Z]+-\d+ \|$", row)] == []


def test_every_number_has_a_mutant() -> None:
    """One that does not apply any more shows nothing."""
    assert set(MUTANTS) == PROMISED
    odd = {number for number, (name, old, _) in MUTANTS.items() if (RUNTIME / name).read_text().count(old) != 1}
    assert odd == set()


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(MUTANTS))
def test_a_broken_runtime_is_found(number: str, tmp_path: Path) -> None:
    """The tests that name a promise fail for a runtime that breaks it."""
    name, old, new = MUTANTS[number]
    shutil.copytree(ROOT / "lyftlearn", tmp_path / "lyftlearn", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "lyftlearn/runtime" / name
    path.write_text(path.read_text().replace(old, new))
    tests = sorted(named()[number])
    program = "import sys, pytest, lyftlearn; broken = sys.argv[1] in lyftlearn.__file__; "
    program += "sys.exit(pytest.main(sys.argv[2:]) if broken else 9)"
    answer = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            program,
            str(tmp_path),
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *tests,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT), str(ROOT / "backends")))},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if "no tests ran" in answer.stdout or " skipped in" in answer.stdout:
        pytest.skip("nothing here to try it with")
    assert answer.returncode == 1, answer.stdout[-2000:] + answer.stderr[-2000:]
