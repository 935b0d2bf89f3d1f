"""Removing what jobs leave. A supervisor loads nothing of lyftlearn, so the runtime's `tree` has the same."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def remove_tree(top: Path) -> None:
    """Remove a directory, however deep it is: `shutil.rmtree` fails where Python's recursion ends.

    Each directory below that is not empty moves up to `top` before it is emptied. Raises OSError if `top` is still
    there in the end, for whatever reason: what is gone already, or may not be removed, is passed over.
    """
    waiting = [str(top)]
    while waiting:
        directory = waiting.pop()
        with suppress(OSError):
            for entry in _entries(directory):
                with suppress(OSError):
                    waiting += _remove_entry(entry, top)
            if directory != str(top):
                os.rmdir(directory)  # noqa: PTH106 - texts: each job has a dozen, and paths cost more than they do
    top.rmdir()


def _entries(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _remove_entry(entry: os.DirEntry[str], top: Path) -> list[str]:
    """Remove a file, or an empty directory; of another, return where it has moved."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)  # noqa: PTH108 - as above
        return []
    try:
        os.rmdir(entry.path)  # noqa: PTH106 - as above
    except OSError:
        emptied = f"{top}/.{os.urandom(8).hex()}"
        os.rename(entry.path, emptied)  # noqa: PTH104 - as above
        return [emptied]
    return []
