"""The example that `make demo` runs: real data, an honest error, one call site."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("pandas") is None:  # it takes long to import
    pytest.skip("the example needs requirements/demo.txt", allow_module_level=True)

ETA = Path(__file__).parents[2] / "examples" / "eta"
IN_THE_JOB = ("train.py", "predict.py", "serve.py", "flights.py", "plot.py")
CALL_SITES = ("submit.py", "submit_prediction.py", "search.py")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python."""
    command = [sys.executable, *arguments]
    # A job has as many threads as CPUs; more would wait for each other on a busy machine.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


def train_by_hand(folder: Path, **hyperparameters: object) -> subprocess.CompletedProcess[str]:
    """Run train.py as a container would: three variables and their directories."""
    for name in ("model", "outputs/output"):
        (folder / name).mkdir(parents=True)
    path = folder / "hyperparameters.json"
    path.write_text(json.dumps(hyperparameters))
    return run(
        str(ETA / "train.py"),
        LYFTLEARN_HYPERPARAMETERS=str(path),
        LYFTLEARN_MODEL_DIR=str(folder / "model"),
        LYFTLEARN_OUTPUTS_DIR=str(folder / "outputs"),
    )


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", IN_THE_JOB)
def test_what_runs_in_the_job_knows_only_the_contract(name: str) -> None:
    """A user's training code must run in an image that has no lyftlearn."""
    tree = ast.parse((ETA / name).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [module for module in imported if module.split(".")[0] == "lyftlearn"]


@pytest.mark.parametrize("name", CALL_SITES)
def test_no_call_names_a_backend(name: str) -> None:
    """Zero code change: what a call says must not depend on where the job runs."""
    calls = [node for node in ast.walk(ast.parse((ETA / name).read_text())) if isinstance(node, ast.Call)]
    ours = [ast.unparse(call) for call in calls if ast.unparse(call.func).startswith("lyftlearn.")]
    assert ours
    backends = {point.name for point in entry_points(group="lyftlearn.backends")}
    assert not [word for call in ours for word in re.findall(r"[\w-]+", call) if word in backends]


def test_no_feature_sees_the_day_that_it_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is honest only if nothing of a flight's own day, or later, is among its features."""
    monkeypatch.syspath_prepend(str(ETA))
    import flights
    import pandas as pd

    data = flights.read("LGA")
    day = pd.Timestamp("2013-11-20")
    planned = data[data["date"] == day]
    changed = data.assign(air_time=data["air_time"].where(data["date"] < day, 9999.0))
    pd.testing.assert_frame_equal(flights.features(planned, data), flights.features(planned, changed))
    before = data.assign(air_time=data["air_time"].where(data["date"] >= day, 9999.0))
    assert not flights.features(planned, data).equals(flights.features(planned, before))


@pytest.mark.slow
def test_the_model_beats_both_guesses_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    """A demonstration that is worse than a guess demonstrates nothing; equal bytes let two platforms be compared."""
    first, second = train_by_hand(tmp_path / "1", origin="LGA"), train_by_hand(tmp_path / "2", origin="LGA")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    metrics = json.loads((tmp_path / "1/outputs/output/metrics.json").read_text())
    assert metrics["mae"] < metrics["mae_last_week"] < metrics["mae_route_median"]
    assert f"holdout_mae={metrics['mae']}\n" in first.stdout
    assert (tmp_path / "1/outputs/output/errors.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_airport_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """The first thing a reader changes is the origin."""
    done = train_by_hand(tmp_path, origin="SFO")
    assert done.returncode == 1
    assert done.stderr == "hyperparameter origin is 'SFO': no flight leaves from there; write EWR, JFK or LGA\n"


def serve_until_ready(job_id: str, **variables: str) -> str:
    """Serve a model as a person would, and return what the runtime says when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    words = ("serve", job_id, "--local", "--port", port, "--", sys.executable, "serve.py")
    process = subprocess.Popen(
        [sys.executable, "-m", "lyftlearn", *words], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        return next(line.rstrip() for line in process.stdout if line.startswith("lyftlearn: "))
    finally:
        process.send_signal(signal.SIGTERM)  # a script's background ignores SIGINT
        process.communicate(timeout=600)


ONE_JOB = "import submit; submit.COLOURS = {'EWR': 'magenta'}; submit.main()"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_job_then_a_prediction(tmp_path: Path) -> None:
    """The two call sites of the demonstration fit together: the second uses what the first has trained."""
    variables = {"LYFTLEARN_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ETA)}
    trained = run("-c", ONE_JOB, "--results", str(tmp_path), **variables)
    assert trained.returncode == 0, trained.stderr
    (job_id,) = re.findall(r"submitted as (\S+)", trained.stdout)
    served_line = serve_until_ready(job_id, **variables)
    assert served_line.endswith(": 1 self-test passed")
    predicted = run(str(ETA / "submit_prediction.py"), job_id, "--results", str(tmp_path), **variables)
    assert predicted.returncode == 0, predicted.stderr
    assert {row["origin"] for row in rows(tmp_path / "predictions/predictions.csv")} == {"EWR"}


@pytest.mark.slow
def test_three_jobs_then_a_prediction(tmp_path: Path) -> None:
    """What the demonstration shows a newcomer, as the newcomer types it: train, then use the model."""
    home = str(tmp_path / "home")
    trained = run(str(ETA / "submit.py"), "--results", str(tmp_path / "results"), LYFTLEARN_HOME=home)
    assert trained.returncode == 0, trained.stderr
    ids = re.findall(r"submitted as (\S+)", trained.stdout)
    assert [job_id.rpartition("-")[0] for job_id in ids] == ["eta-ewr", "eta-jfk", "eta-lga"]
    for origin, job_id in zip(("EWR", "JFK", "LGA"), ids, strict=True):
        assert f"{origin} │ saved the model" in trained.stdout
        assert f"{job_id}/output/model.tar.gz" in trained.stdout
        assert (tmp_path / "results" / origin / "output" / "errors.png").exists()

    predicted = run(
        str(ETA / "submit_prediction.py"), ids[1], "--results", str(tmp_path / "results"), LYFTLEARN_HOME=home
    )
    assert predicted.returncode == 0, predicted.stderr
    predictions = rows(tmp_path / "results/predictions/predictions.csv")
    planned = [row["origin"] for row in rows(ETA / "schedule/2013-12-24.csv")]
    assert [row["origin"] for row in predictions] == ["JFK"] * planned.count("JFK")
    assert all(20 <= float(row["minutes"]) <= 720 for row in predictions)


@pytest.mark.slow
def test_a_search_prints_the_best_of_six_trials(tmp_path: Path) -> None:
    """What the demonstration ends with: six trials, of which one is the best, and the command that lists them."""
    done = run(str(ETA / "search.py"), LYFTLEARN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"│ trial (\d) \(.*holdout_mae=([0-9.]+)(?:,|;)", done.stdout)
    assert sorted(number for number, _ in lines) == list("012345")
    objectives = {number: float(objective) for number, objective in lines}
    (best,) = re.findall(r"The best of 6 trials is trial (\d): ([0-9.]+) minutes", done.stdout)
    assert float(best[1]) == objectives[best[0]] == min(objectives.values())
