"""What lyftlearn itself wrote. It carries a mark, so that it never becomes part of a source.

A plan that was kept is known by its first bytes, wherever it was copied to. The mark of a directory is an extended
attribute: it moves with the directory, and nobody who lists it sees anything. Where the file system has none, it is a
file in the directory.
"""

from __future__ import annotations

import os
from contextlib import suppress

_ATTRIBUTE = "user.lyftlearn"
_FILE = ".lyftlearn-download"
PLAN = ".json"
"""How the name of a plan's file ends."""
PLAN_BEGINNING = b'{\n  "lyftlearn-plan": '
CONTENT, CONTAINER = b"content", b"container"
"""What is in the directory is lyftlearn's; or the directory is lyftlearn's as long as nothing else is in it."""


def mark(directory: str | os.PathLike[str], meaning: bytes) -> None:
    """Mark a directory, as well as its file system can."""
    try:
        os.setxattr(directory, _ATTRIBUTE, meaning)
    except (OSError, AttributeError):
        with suppress(OSError), open(os.path.join(directory, _FILE), "wb") as file:  # noqa: PTH118, PTH123
            file.write(meaning)


def is_marked(directory: str, meaning: bytes) -> bool:
    """Whether a directory has this mark."""
    try:
        return os.getxattr(directory, _ATTRIBUTE) == meaning
    except (OSError, AttributeError):
        return _mark_in_file(directory) == meaning


def is_plan(path: str) -> bool:
    """Whether a file is a plan that was kept."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(len(PLAN_BEGINNING)) == PLAN_BEGINNING
    except OSError:
        return False


def is_mark(name: str) -> bool:
    """Whether a file of this name is a mark."""
    return name == _FILE


def _mark_in_file(directory: str) -> bytes | None:
    try:
        with open(os.path.join(directory, _FILE), "rb") as file:  # noqa: PTH118, PTH123
            return file.read(64)
    except OSError:
        return None
