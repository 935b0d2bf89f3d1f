"""Removing what jobs leave. A supervisor loads nothing of lyftlearn, so the runtime's `tree` has the same."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def remove_tree(top: Path) -> None:
    """Remove a directory, however deep it is: `shutil.rmtree` fails where Python's recursion ends.

    Each directory below moves up to `top` before it is emptied. Raises OSError if `top` is still there in the end, for
    whatever reason: what is gone already, or may not be removed, is passed over.
    """
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        with suppress(OSError):
            for path in list(directory.iterdir()):
                with suppress(OSError):
                    waiting += _remove_entry(path, top)
            if directory != top:
                directory.rmdir()
    top.rmdir()


def _remove_entry(path: Path, top: Path) -> list[Path]:
    """Remove a file; of a directory, return where it has moved."""
    if path.is_dir() and not path.is_symlink():
        return [path.rename(top / f".{os.urandom(8).hex()}")]
    path.unlink()
    return []
