"""The house rules that a program can hold: where things stand, how long they are, and how functions are named."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Not those of Alembic: a step from one state of the tables to the next is a list, and stays as it was written.
SOURCES = [
    path
    for top in ("lyftlearn", "backends")
    for path in sorted((ROOT / top).rglob("*.py"))
    if path.parent.name != "versions"
]
FOLDERS = {"backends", "benchmarks", "deploy", "docs", "examples", "images", "lyftlearn", "requirements", "tests"}
GENERATED = {"build", "dist", "eta-results", "parity-results", "__pycache__"}
# What the tests have beside a folder for each room.
OTHERS = {"backends", "callsites", "docs", "doubles", "examples", "golden", "images", "wheel"}
# Participles of verbs that do not end in `ed`; as the whole name of a function they say nothing of what it returns.
IRREGULAR = {
    "begun",
    "bound",
    "built",
    "cut",
    "done",
    "drawn",
    "found",
    "given",
    "gone",
    "heard",
    "held",
    "kept",
    "known",
}
IRREGULAR |= {"left", "lost", "made", "met", "said", "seen", "sent", "set", "shown", "spent", "stuck", "taken", "told"}
IRREGULAR |= {"torn", "understood", "written"}


def test_the_house_has_no_other_folders() -> None:
    """What a script leaves where it was started must not become a part of the project."""
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    assert {name for name in found if not name.endswith(".egg-info")} - GENERATED == FOLDERS


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def folders(top: Path) -> set[str]:
    return {path.name.removeprefix("_") for path in top.iterdir() if path.is_dir() and any(path.rglob("*.py"))}


def test_every_room_has_its_tests_and_every_test_its_room() -> None:
    """Who knows where a thing stands knows where it is tested."""
    assert folders(ROOT / "tests") - OTHERS == folders(ROOT / "lyftlearn")
    backends = {name.removeprefix("lyftlearn_") for name in folders(ROOT / "backends")}
    assert folders(ROOT / "tests" / "backends") == backends | {"third_party"}


def test_functions_and_files_stay_short() -> None:
    """What does not fit on a screen is not read."""
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for _, node in functions())
    assert statistics.median(lengths) <= 6
    assert lengths[len(lengths) * 9 // 10] <= 14
    assert lengths[-1] <= 44
    assert {path for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 420} == set()


def test_functions_are_verbs_or_nouns() -> None:
    """A bare participle says that something happened, and neither what the function does nor what it returns."""
    participle = re.compile(r"_*([a-z]+ed|" + "|".join(sorted(IRREGULAR)) + r")")
    allowed = {"closed", "ended", "failed", "finished", "succeeded", "stopped"}  # predicates
    allowed |= {"embed", "feed", "need", "seed", "speed", "succeed"}
    allowed |= {"revived", "asked"}  # what pickles and plugins of version 1.0.0 know
    names = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for path, node in functions()
        if participle.fullmatch(node.name) and node.name.strip("_") not in allowed
    }
    assert names == set()
