"""Two versions on one machine, as in every upgrade: each runs, finds, follows, stops and downloads the other's jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.golden.calls import TRAIN, WAITING
from tests.golden.corpus import Corpus

PATIENCE = 600
PRELUDE = """
import json, sys
import lyftlearn
from lyftlearn import Client
given = json.loads(sys.argv[1])
client = Client(config=given["config"])
"""
SUBMIT = 'print(client.train("eta", command=given["command"]).id)'
KEYED = 'print(client.train(**given["train"], key="nightly").id)'
STATUS = 'print(client.job(given["id"]).refresh().status)'
FOLLOW = 'print(next(iter(client.job(given["id"]).logs(follow=True))))'
STOP = 'client.job(given["id"]).stop(wait=True); print(client.job(given["id"]).refresh().status)'
END = 'print(client.job(given["id"]).wait("200s", check=False, progress=False).status)'
DOWNLOAD = 'print(client.job(given["id"]).download(given["out"]))'
VERSION = "from importlib.metadata import version; print(lyftlearn.__file__, version('lyftlearn'))"

Run = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Return what both versions are configured with: one job at a time."""
    return {"project": "golden", "home": str(tmp_path / "home"), "local": {"parallel": 1}}


@pytest.fixture
def new(config: dict[str, Any], tmp_path: Path) -> Run:
    """Run a program with this version."""
    return _runner(config, tmp_path, {})


@pytest.fixture
def old(corpus: Corpus, config: dict[str, Any], tmp_path: Path) -> Run:
    """Run a program with the old version."""
    installed = tmp_path / "old"
    with zipfile.ZipFile(corpus.wheel) as wheel:
        wheel.extractall(installed)
    run = _runner(config, tmp_path, {"PYTHONPATH": str(installed)})
    assert run(VERSION) == f"{installed}/lyftlearn/__init__.py {corpus.version}"
    return run


def _runner(config: dict[str, Any], directory: Path, variables: dict[str, str]) -> Run:
    def run(program: str, **given: Any) -> str:
        environment = {**os.environ, "LYFTLEARN_PLATFORM_CONFIG": os.devnull, **variables}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, json.dumps({"config": config, **given}, default=str)],
            capture_output=True,
            text=True,
            cwd=directory,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(params=["old first", "new first"])
def versions(request: pytest.FixtureRequest, old: Run, new: Run) -> tuple[Run, Run]:
    """Return who submits, and who finds what was submitted."""
    return (old, new) if request.param == "old first" else (new, old)


def test_each_follows_and_stops_the_others_jobs(versions: tuple[Run, Run]) -> None:
    """A notebook with the old version and a cron job with the new one share a home."""
    submits, finds = versions
    job_id = submits(SUBMIT, command=WAITING)
    assert finds(FOLLOW, id=job_id) == "waiting"
    assert finds(STATUS, id=job_id) == "running"
    assert finds(STOP, id=job_id) == "stopped"
    assert submits(STATUS, id=job_id) == "stopped"


def test_each_runs_what_waits_behind_the_others_jobs(versions: tuple[Run, Run]) -> None:
    """A supervisor of one version hands its slot to a job of the other."""
    submits, finds = versions
    first = submits(SUBMIT, command=WAITING)
    assert submits(FOLLOW, id=first) == "waiting"
    second = finds(SUBMIT, command="echo second")
    third = submits(SUBMIT, command="exit 3")
    assert finds(STATUS, id=third) == "pending"
    assert submits(STOP, id=first) == "stopped"
    assert submits(END, id=second) == "succeeded"
    assert finds(END, id=third) == "failed"
    assert submits(FOLLOW, id=second) == "second"


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="before Python 3.11.4, 1.0.0 can download nothing")
def test_each_has_the_others_keyed_job_and_its_outputs(versions: tuple[Run, Run], tmp_path: Path) -> None:
    """Half of a fleet is upgraded when the nightly job is due."""
    submits, finds = versions
    train = {**TRAIN, "command": f"{sys.executable} train.py"}
    job_id = submits(KEYED, train=train)
    assert finds(KEYED, train=train) == job_id
    assert finds(END, id=job_id) == "succeeded"
    finds(DOWNLOAD, id=job_id, out=tmp_path / "out")
    assert (tmp_path / "out/output/rides.txt").read_text() == "5\n"
    assert (tmp_path / "out/model/weights.json").is_file()


def test_a_key_of_the_old_version_is_found_again_whatever_is_left_out_now(old: Run, new: Run, tmp_path: Path) -> None:
    """The old version sent what `.gitignore` names, and downloads: its nightly job is still the same call."""
    code = tmp_path / "code"
    (code / "data").mkdir(parents=True)
    for name, text in {"train.py": "print(1)", ".gitignore": "data/\n", "data/rides.csv": "1"}.items():
        (code / name).write_text(text)
    train = {"model": "eta", "command": f"{sys.executable} train.py", "source": str(code)}
    job_id = old(KEYED, train=train)
    assert new(KEYED, train=train) == job_id
    (code / "train.py").write_text("print(2)")
    with pytest.raises(AssertionError, match="Conflict"):
        new(KEYED, train=train)
