"""Install the built wheel into an empty environment, as a stranger gets it, and use it. `make wheel` runs this.

No extras, no test tools, nothing of the checkout on the path: what is missing from the wheel is missing here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

IMPORTS = """
import importlib.util, sys
from importlib.metadata import entry_points

import lyftlearn

assert "site-packages" in lyftlearn.__file__, lyftlearn.__file__
assert importlib.util.find_spec("backends") is None, "a top-level module `backends` was installed"
assert importlib.util.find_spec("pytest") is None, "the environment is not empty"
found = entry_points(group="lyftlearn.backends")
assert len(found) >= 3, found
for entry_point in found:
    assert callable(entry_point.load()), entry_point
    print("loads:", entry_point.name)
assert not [name for name in sys.modules if name.startswith("lyftlearn.parity")]
assert not [name for name in ("boto3", "lightkube", "rich", "requests") if name in sys.modules]
"""

PARITY = """
from datetime import UTC, datetime

from lyftlearn.parity import _compare, _page
from lyftlearn.parity._model import Observation

old, new = (Observation(backend=name, facts={"process umask": "0022"}) for name in ("old", "new"))
found = _compare.compare([old, old], [new], started_at=datetime.now(UTC), seconds=1)
assert found.holds
assert "Parity holds" in _page.page(found)
print("compares: rules and page are there")
"""

JOB = """
import lyftlearn

job = lyftlearn.train("wheel", command="echo from the wheel; echo weights > $LYFTLEARN_MODEL_DIR/model.txt")
job.wait(timeout="2m", progress=False)
assert list(job.logs()) == ["from the wheel"], list(job.logs())
assert (job.download("out") / "model" / "model.txt").read_text() == "weights\\n"
print("ran:", job.id)
"""


def main(wheel: Path) -> None:
    """Try `wheel`; any failure ends with an exception."""
    _contents(wheel)
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        venv.create(room / "venv", with_pip=True)
        python = room / "venv" / "bin" / "python"
        quiet = ["--quiet", "--disable-pip-version-check"]
        _run(room, python, "-m", "pip", "install", *quiet, "-c", _pins(room), str(wheel.resolve()))
        _run(room, python, "-I", "-c", IMPORTS)
        _run(room, python, "-I", "-c", PARITY)
        _run(room, python, "-I", "-c", JOB)
        _run(room, room / "venv" / "bin" / "lyftlearn", "--version")


def _pins(room: Path) -> str:
    """The versions of requirements/test.txt as constraints, which may not name extras."""
    requirements = Path(__file__).parents[2] / "requirements" / "test.txt"
    constraints = room / "constraints.txt"
    constraints.write_text(re.sub(r"\[[^\]]*\]", "", requirements.read_text()))
    return str(constraints)


def _contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "lyftlearn/py.typed" in names
    assert not [name for name in names if name.startswith(("backends/", "tests/", "docs/"))]


def _run(room: Path, *command: str | Path) -> None:
    own = {"PATH": os.environ["PATH"], "HOME": str(room), "LYFTLEARN_HOME": str(room / "home"), "LANG": "C.UTF-8"}
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    subprocess.run(command, cwd=room, env=own | passed_on, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
