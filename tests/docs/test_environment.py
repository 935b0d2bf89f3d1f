"""The page about environment variables names those that the code knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
NAME = re.compile(r"LYFTLEARN_[A-Z_]*[A-Z]")
DOCUMENTED = set(re.findall(r"`(LYFTLEARN_[A-Z_*]+)`", PAGE))


def texts(path: Path) -> Iterator[str]:
    """Yield every text of a program that is no docstring; of a composed text, its constant parts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_the_page_names_every_variable_of_the_code() -> None:
    """A variable that changes what a program does, and that nobody can look up, is a trap."""
    sources = [path for directory in ("lyftlearn", "backends") for path in (ROOT / directory).rglob("*.py")]
    used = {name for path in sources for text in texts(path) for name in NAME.findall(text)}
    assert len(used) > 25
    assert {
        name for name in used if not any(fnmatch(name, known) for known in DOCUMENTED) and not _begins(name)
    } == set()


def test_the_page_names_no_other() -> None:
    """A variable that is gone from the code must go from the page, too."""
    sources = [path for name in ("lyftlearn", "backends", "tests") for path in (ROOT / name).rglob("*.py")]
    sources.remove(Path(__file__))
    program = "\n".join(path.read_text(encoding="utf-8") for path in (*sources, ROOT / "Makefile"))
    assert {name for name in DOCUMENTED if not _is_used(name.removesuffix("*"), program)} == set()


def _begins(part: str) -> bool:
    """Whether a constant part of a composed text, such as `LYFTLEARN_NODE_`, begins names on the page."""
    return any(name.startswith(part) for name in DOCUMENTED)


def _is_used(name: str, program: str) -> bool:
    """Whether a program has the name, or composes it: the tests' own variables are `LYFTLEARN_TEST_{name}`."""
    composed = name.removeprefix("LYFTLEARN_TEST_").removeprefix("SAGEMAKER_")
    return name in program or any(f'"{part}"' in program for part in (composed, composed.lower()) if part != name)
