"""The Pythons of this machine, for what must run on each that an image may have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION = "import sys; print(*sys.version_info[:3])"


def pythons() -> dict[tuple[int, ...], Path]:
    """Return the path of each by its version: this one, those on PATH, and pyenv's, if there are any."""
    versions = {version: path for path in _candidates() if (version := _version(path))}
    return dict(sorted({**versions, sys.version_info[:3]: Path(sys.executable)}.items()))


def _candidates() -> Iterator[Path]:
    yield from (Path(path) for minor in range(6, 20) if (path := shutil.which(f"python3.{minor}")))
    yield from Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")


def _version(python: Path) -> tuple[int, ...]:
    """Nothing for a program that does not run, such as a shim of a version that is not installed."""
    try:
        tried = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, timeout=600, check=False)
    except OSError:
        return ()
    return tuple(map(int, tried.stdout.split())) if tried.returncode == 0 else ()
