"""What `import lyftlearn; lyftlearn.train` loads: every module of lyftlearn and what it imports itself, with the costs.

`python -m tests.import_profile > tests/import_profile.txt` writes the profile; it needs valgrind. A test holds its
modules: everybody pays for them, so a new one is a line of a diff. What the standard library's own modules import is
left out, because it differs from one Python to the next. A cost is that of an interpreter that imports this alone, in
millions of instructions above one that imports nothing: no other program of the machine changes it by one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROFILE = Path(__file__).with_suffix(".txt")
_PROGRAM = """
import builtins
load, found = builtins.__import__, {}

def record(name, variables=None, local=None, fromlist=(), level=0):
    importer = (variables or {}).get("__name__", "")
    if importer.partition(".")[0] == "lyftlearn" and not level:
        found.setdefault(importer, set()).add(name)
    return load(name, variables, local, fromlist, level)

builtins.__import__ = record
import lyftlearn; lyftlearn.train
import sys
for name in sorted(name for name in sys.modules if name.partition(".")[0] == "lyftlearn"):
    print(name + ":", *sorted(found.get(name, ())))
"""


def measure() -> list[str]:
    """Return the modules of a fresh process, each with what it imports."""
    return _python(_PROGRAM).stdout.splitlines()


def committed() -> list[str]:
    """Return the same of the committed profile."""
    return [line for line in PROFILE.read_text(encoding="utf-8").splitlines() if ":" in line]


def _costs(modules: list[str]) -> Iterator[str]:
    """Yield the cost of all, and of each module of the standard library that is imported directly."""
    others = {name for line in modules for name in line.partition(":")[2].split() if not name.startswith("lyftlearn")}
    nothing = _instructions("pass")
    for name in ["lyftlearn", *sorted(others)]:
        yield f"{(_instructions(f'import {name}') - nothing) / 1e6:5.1f} {name}"


def _instructions(program: str) -> int:
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    found = re.search(r"refs:\s+([\d,]+)", _python(program, callgrind).stderr)
    assert found, "valgrind tells no number of instructions"
    return int(found[1].replace(",", ""))


def _python(program: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*(prefix or []), sys.executable, "-c", program], capture_output=True, text=True, check=True)


if __name__ == "__main__":
    print(*measure(), *_costs(measure()), sep="\n")
