"""The travel-time example's search on every backend: real models, the same trials, the same best."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.platforms import BACKENDS, IN_IMAGE, Platforms

if find_spec("sklearn") is None:  # it takes seconds to import
    pytest.skip("the example needs requirements/demo.txt", allow_module_level=True)
ETA = Path(__file__).parents[2] / "examples" / "eta"
SEARCH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from search import search
job = search("LGA", trials=int(sys.argv[2]), parallel=4)
job.wait("1h", progress=False)
trials = [[trial.number, dict(trial.hyperparameters), trial.objective] for trial in job.trials()]
print(json.dumps({"trials": trials, "best": job.best().number, "backend": job.best().job.id[-12]}))
"""


def search(everywhere: Platforms, backend: str, trials: int) -> dict[str, Any]:
    command = [sys.executable, "-c", SEARCH, str(ETA), str(trials)]
    done = subprocess.run(command, env=everywhere.variables(backend), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_example_is_tuned_alike_on_every_backend(everywhere: Platforms) -> None:
    """A sampler that learns goes another way as soon as one objective differs, so this compares the models, too."""
    backends = [backend for backend in BACKENDS if backend != IN_IMAGE]
    with ThreadPoolExecutor(len(backends)) as pool:
        found = dict(zip(backends, pool.map(lambda name: search(everywhere, name, 20), backends), strict=True))
    assert len({result.pop("backend") for result in found.values()}) == len(backends)
    first = found[backends[0]]
    assert len(first["trials"]) == 20
    assert all(objective is not None for _, _, objective in first["trials"])
    assert found == dict.fromkeys(backends, first)
