"""The Python that runs supervisors and the runtime: this one, or its kin where this process is no usable Python.

Under uWSGI `sys.executable` is the server, in a frozen application the application; it may be empty, or forbidden.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (3, 11)
PROBE_SECONDS, KIN_SECONDS = 60.0, 15.0
"""For the whole look, and for each of several: a Python that hangs must not hold up a submission for long."""
REMEDY = 'name one that this user may run: [local] python = "/path/to/python3"'
_NAME = re.compile(r"(python|pypy)[0-9.]*")
_PROBE = f"import fcntl, json, select, sys; sys.exit(sys.version_info[:2] < {OLDEST!r})"


def find(configured: str | None = None) -> str | None:
    """Return the path of a Python that can be run, or None. A process that is one itself is believed."""
    if configured:
        return configured if _works(configured) else None
    if sys.executable and not getattr(sys, "frozen", False) and _is_python(sys.executable):
        return sys.executable
    deadline = time.monotonic() + PROBE_SECONDS
    different = {os.path.realpath(path): path for path in reversed([*_kin()]) if path and _is_python(path)}
    return next((path for path in reversed(different.values()) if _works(path, _time_for_one(deadline))), None)


def _time_for_one(deadline: float) -> float:
    """Seconds for one of several Pythons: one that hangs must not take the time of all."""
    return min(KIN_SECONDS, max(0.0, deadline - time.monotonic()))


def _is_python(path: str) -> bool:
    return bool(_NAME.fullmatch(Path(path).name)) and Path(path).is_file() and os.access(path, os.X_OK)


def _kin() -> Iterator[str | None]:
    """Where a Python with the same packages may be, then any other."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    yield getattr(sys, "_base_executable", None)
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix)):
        for name in (version, "python3", "python"):
            yield str(Path(prefix, "bin", name))
    for name in (version, "python3", "python"):
        yield shutil.which(name)


def _works(path: str, seconds: float = PROBE_SECONDS) -> bool:
    try:
        tried = subprocess.run([path, "-I", "-S", "-c", _PROBE], capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
