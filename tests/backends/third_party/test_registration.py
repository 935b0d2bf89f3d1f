"""A stranger's distribution is found through its entry point, in a process that knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ETA = Path(__file__).parents[3] / "examples" / "eta"
CALL_SITE = """
import sys
import lyftlearn

code = "import os; open(os.environ['LYFTLEARN_MODEL_DIR'] + '/model.txt', 'w').write('trained'); print('hello')"
job = lyftlearn.train("eta", command=[sys.executable, "-c", code], labels={"example": "eta"})
job.wait("2m")
job.download("results")
print(list(job.logs()), open("results/model/model.txt").read())
"""


def _run(*command: str, home: Path, plugin: Path, backend: str = "bare") -> str:
    env = os.environ | {
        "PYTHONPATH": str(plugin),
        "LYFTLEARN_HOME": str(home / "home"),
        "LYFTLEARN_PLATFORM_CONFIG": os.devnull,
        "LYFTLEARN_BACKEND": backend,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    answer = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=True, timeout=600)
    return answer.stdout


def test_a_call_site_runs_on_it(tmp_path: Path, plugin: Path) -> None:
    """The flag alone moves a call site to a backend that lyftlearn has never heard of, and nothing else changes."""
    (tmp_path / "submit.py").write_text(CALL_SITE)
    for backend in ("bare", "local"):
        room = tmp_path / backend
        room.mkdir()
        answer = _run(sys.executable, str(tmp_path / "submit.py"), home=room, plugin=plugin, backend=backend)
        assert answer == "['hello'] trained\n"


def test_it_is_listed(tmp_path: Path, plugin: Path) -> None:
    """An operator sees what is installed, and what it lacks."""
    listed = _run(sys.executable, "-m", "lyftlearn.cli", "backends", home=tmp_path, plugin=plugin)
    assert "bare" in listed


@pytest.mark.slow
def test_the_example_runs_on_it(tmp_path: Path, plugin: Path) -> None:
    """Real models are trained by a backend that the example was not written for."""
    answer = _run(sys.executable, str(ETA / "submit.py"), home=tmp_path, plugin=plugin)
    for origin in ("ewr", "jfk", "lga"):
        assert f"eta-{origin}-" in answer
        assert (tmp_path / "eta-results" / origin.upper() / "output" / "metrics.json").exists()
