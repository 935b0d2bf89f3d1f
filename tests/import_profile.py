"""What `import lyftlearn; lyftlearn.train` loads: every module of lyftlearn, with the modules that it imports itself.

`python -m tests.import_profile > tests/import_profile.txt` writes the profile that a test holds. Everybody pays for
these modules, so a new one is a line of a diff. What the standard library's own modules import is left out, because it
differs from one Python to the next.
"""

from __future__ import annotations

import subprocess
import sys
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


def measure() -> str:
    """Return the profile of a fresh process."""
    return subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    print(measure(), end="")
