"""The architecture page and its pictures show the house as it is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from .site import DOCS

ROOT = DOCS.parent
PAGE = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
WORDS = "job spec plan record event state claim decision bundle report runtime layout"


def test_the_pictures_are_drawn_from_the_contracts() -> None:
    """A picture that was drawn once and kept by hand shows the house of last year."""
    command = [sys.executable, "docs/diagrams.py", "--check"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr


def test_the_rooms_that_backends_see_are_marked() -> None:
    """A contract that is written in another way must not paint every room."""
    picture = (DOCS / "explanation" / "rooms.svg").read_text(encoding="utf-8")
    marked = re.findall(r'<rect class="seen"[^>]*/>\n<text class="name" [^>]*>(\w+)</text>', picture)
    assert marked == ["backend", "events", "errors", "types"]


def test_every_room_has_a_paragraph() -> None:
    """Whoever adds a room says in a few sentences what it is for."""
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract["id"] == "floors")
    rooms = {room for layer in layers for room in layer.split(" | ")}
    assert {room for room in rooms if f"**`{room}`**" not in PAGE} == set()


def test_every_file_on_the_page_is_there() -> None:
    """A reader who is sent to a file finds it."""
    paths = set(re.findall(r"`((?:lyftlearn|backends|tests|docs|benchmarks)/[\w/.]+)`", PAGE))
    assert len(paths) > 15
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_the_central_words_are_explained() -> None:
    """A reader of the code meets these nouns in every room."""
    rows = {line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")}
    assert set(WORDS.split()) - rows == set()
