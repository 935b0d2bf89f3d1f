"""Two builds of one commit are the same bytes: whoever distrusts a release can make it again and compare."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("lyftlearn", "backends", "lyftlearn_pytest.py", "pyproject.toml", "README.md", "LICENSE")
BUILD = "from hatchling.build import build_wheel; build_wheel({!r})"


def build(directory: Path, umask: int) -> dict[str, str]:
    """Build a wheel from a copy that differs in all that must not matter; return the digest of each file."""
    source = directory / "source"
    source.mkdir(parents=True)
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    for path in source.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
        os.utime(path, (umask, umask))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-c", BUILD.format(str(directory))]
    subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL, umask=umask)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.whl")}


def test_a_wheel_is_the_same_from_every_checkout(tmp_path: Path) -> None:
    """`make dist` does the same with the source distribution, and compares the wheel that is built from that."""
    one, other = build(tmp_path / "a", 0o022), build(tmp_path / "another-place", 0o077)
    assert one == other
    assert len(one) == 1
