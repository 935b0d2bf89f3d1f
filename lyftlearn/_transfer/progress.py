"""How far a packing is, for a person who waits for it: a line that moves, once it takes longer than a second."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Self

from lyftlearn._text.display import printable

_SILENT = 1.0
_PAUSE = 0.2
_MIB = 1 << 20


class PackingProgress:
    """Shows bytes packed on standard error, where somebody sees it, and takes the line away at the end."""

    def __init__(self, path: Path, total: int) -> None:
        self._path = path
        self._total = total
        self._done = 0
        self._due = time.monotonic() + _SILENT
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            _print("\r\x1b[K")

    def advance(self, size: int) -> None:
        """Take note of bytes that were read."""
        self._done += size
        if time.monotonic() >= self._due and _is_watched():
            self._due = time.monotonic() + _PAUSE
            self._shown = True
            amount = f"{self._done / _MIB:,.0f} of {self._total / _MIB:,.0f} MiB"
            _print(f"\r\x1b[Kpacking {printable(str(self._path))}: {amount}")


def _is_watched() -> bool:
    if sys.stderr is None:
        return False
    return (sys.stderr.isatty() and os.environ.get("TERM") != "dumb") or "ipykernel" in sys.modules


def _print(text: str) -> None:
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads it any more, which is no reason to pack nothing
        return
