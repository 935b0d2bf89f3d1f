"""Archives that want to write elsewhere are refused by every Python, also by those whose `tarfile` lets them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)


def pythons() -> list[str]:
    """Every Python from 3.11 on that is on this machine, the one of these tests first."""
    places = [Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin")]
    names = [path for place in places for path in place.glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    found = {str(path.resolve()): None for path in sorted(names) if _minor(path) >= OLDEST}
    return [sys.executable, *(path for path in found if path != str(Path(sys.executable).resolve()))]


def _minor(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.removeprefix("python").split("."))


@pytest.mark.parametrize("python", pythons())
def test_nothing_is_written_elsewhere(python: str, tmp_path: Path) -> None:
    """Python 3.11.2 has no filter, 3.11.7 has one that can be tricked, and later ones have others."""
    if shutil.which(python) is None:
        pytest.skip("it is not there")
    done = subprocess.run(
        [python, "-S", str(Path(__file__).parent / "hostile.py"), str(tmp_path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["harm"] == {}
