"""Try lyftlearn with other versions of what it needs: `lowest`, the oldest that are allowed, or `newest`.

`make lowest` and `make newest` run it. The tests are those that need no service and no test double beside lyftlearn.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "responses", "jsonschema")
TESTS = (
    "tests/rollout", "tests/config", "tests/call", "tests/cli/test_operators.py", "tests/cli/test_tables.py",
    "tests/migration/test_analysis.py", "tests/testing/test_fake.py", "--ignore=tests/rollout/test_directions.py",
)  # fmt: skip


def main(which: str) -> int:
    """Install, list and test; return the exit code of the tests."""
    uv = [sys.executable, "-m", "uv", "-q", "pip"]
    with tempfile.TemporaryDirectory() as directory:
        pins, environment = f"{directory}/pins.txt", f"{directory}/venv"
        compiled = ["compile", "--resolution", RESOLUTIONS[which], "--no-annotate", "--no-header", "pyproject.toml"]
        subprocess.run([*uv, *compiled, "-o", pins], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        sys.stdout.write(Path(pins).read_text())
        subprocess.run([sys.executable, "-m", "uv", "-q", "venv", environment, "--python", sys.executable], check=True)
        python = f"{environment}/bin/python"
        install = [*uv, "install", "--python", python, "-c", pins, "-r", pins, *TOOLS, "."]
        subprocess.run(install, cwd=ROOT, check=True)
        # What is installed is tested, with the tests of the checkout. Old versions warn of what newer Pythons have.
        options = ["-q", "-n", "2", "-m", "not slow", "-W", "default", "-p", "no:cacheprovider"]
        return subprocess.run([python, "-P", "-m", "pytest", *options, *TESTS], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
