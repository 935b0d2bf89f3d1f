"""One search on every backend: the same values, the same objectives, the same best, in a process of its own each."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.platforms import BACKENDS, IN_IMAGE, Platforms

SEARCH = """
import json, sys
import lyftlearn
from lyftlearn import Choice, Objective
job = lyftlearn.tune(
    "eta",
    command="python3 train.py",
    source=sys.argv[1],
    space={"rate": Choice([0.125]), "kind": Choice(["1", True])},
    objective=Objective(name="loss", goal="minimize", pattern=r"loss=(\\\\S+)"),
    trials=2,
    parallel=2,
    strategy="grid",
    env={"CITY": "sfo"},
    secrets=["warehouse"],
    hyperparameters={"version": "1.10"},
)
job.wait("8m", check=False, progress=False)
print("\\\\n".join(job.logs()), file=sys.stderr)
found = lyftlearn.Client().job(job.id)
trials = [[trial.number, dict(trial.hyperparameters), trial.objective] for trial in found.trials()]
best = found.best()
best.job.download(sys.argv[2], output="model")
print(json.dumps({"status": job.state.status, "trials": trials, "best": best.number, "backend": best.job.id[-12]}))
"""
TRAIN = """
import json, os, pathlib
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    given = json.load(file)
assert os.environ["CITY"] == "sfo" and os.environ["WAREHOUSE_USER"] == "eta" and given["version"] == "1.10"
print("loss=nan")
print(f"loss={given['rate'] + len(json.dumps(given['kind']))!r}")
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.json").write_text(json.dumps(given, sort_keys=True))
"""


def search(everywhere: Platforms, backend: str, directory: Path) -> dict[str, Any]:
    source = directory / f"source-{backend}"
    source.mkdir()
    (source / "train.py").write_text(TRAIN)
    command = [sys.executable, "-c", SEARCH.replace("\\\\", "\\"), str(source), str(directory / f"out-{backend}")]
    done = subprocess.run(
        command, env=everywhere.variables(backend), capture_output=True, text=True, check=False, cwd=directory
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


QUICK = tuple(backend for backend in BACKENDS if backend in ("local", "kubernetes", "sagemaker"))


@pytest.mark.parametrize("backends", [QUICK, pytest.param(BACKENDS, marks=pytest.mark.slow)])
def test_a_search_is_the_same_on_every_backend(
    everywhere: Platforms, tmp_path: Path, backends: tuple[str, ...]
) -> None:
    """Whoever moves a search by a flag gets the same trials and the same best model."""
    with ThreadPoolExecutor(len(backends)) as pool:
        results = pool.map(lambda backend: search(everywhere, backend, tmp_path), backends)
        found = dict(zip(backends, results, strict=True))
    letters = {backend: result.pop("backend") for backend, result in found.items()}
    assert letters.get(IN_IMAGE, letters["local"]) == letters["local"]
    assert len(set(letters.values())) == len({*backends} - {IN_IMAGE}), "a trial left the backend of its search"
    first = found[backends[0]]
    assert first["status"] == "succeeded"
    assert [len(trial) for trial in first["trials"]] == [3, 3]
    assert found == dict.fromkeys(backends, first)
    models = {(tmp_path / f"out-{backend}" / "model" / "model.json").read_text() for backend in backends}
    assert models == {json.dumps(first["trials"][first["best"]][1], sort_keys=True)}
