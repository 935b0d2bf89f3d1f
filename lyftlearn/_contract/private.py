"""Directories of this user's own."""

from __future__ import annotations

from pathlib import Path


def make_private(directory: Path) -> None:
    """Make a directory, and what is missing above it, for this user alone, whatever the umask. Raises OSError.

    Whoever may write into a home says what its owner's jobs run; whoever may read it knows what they print.
    """
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
