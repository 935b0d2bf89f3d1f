"""The travel-time example in the base image: trained and served there, with a model of the test cluster beside it.

The pods of the test cluster have this machine's files, whatever their image is called.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import as_from_a_terminal
from tests.doubles.platforms import Platforms, platforms
from tests.images import building

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ETA = building.ROOT / "examples/eta"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base image, with what the example imports."""
    building.require_builder()
    building.make_debian()
    building.build_wheel()
    packages = tmp_path_factory.mktemp("packages")
    building.fetch_packages(packages)
    base = building.build("lyftlearn", packages, "--build-arg", f"BASE={building.DEBIAN}")
    return building.add_example(base, packages)


@pytest.fixture(scope="module")
def in_the_image(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """The platforms, on which this machine's jobs run in the image."""
    with platforms(tmp_path_factory.mktemp("platforms")) as running:
        yield replace(running, config=running.config_in_image(image))


def lyftlearn(on: Platforms, backend: str, *words: str) -> str:
    command = [sys.executable, "-m", "lyftlearn", *words]
    done = subprocess.run(command, env=on.variables(backend), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(on: Platforms, backend: str) -> str:
    """Train on `backend`; return the job's id."""
    words = ("train", "eta", "--source", str(ETA), "-p", "origin=LGA", "-p", "iterations:=20", "--memory", "2Gi")
    return lyftlearn(on, backend, *words, "--wait", "--", "python3", "train.py").split()[0]


def serve(on: Platforms, job_id: str) -> tuple[str, Any]:
    """Serve a job's model on this machine, in the image; return what the runtime says, and an answer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = ("serve", job_id, "--local", "--port", str(port), "--", "python3", "serve.py")
    command = [sys.executable, "-m", "lyftlearn", *words]
    process = subprocess.Popen(
        command,
        env=on.variables("local"),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=as_from_a_terminal,  # noqa: PLW1509 - one call, and no thread of ours holds a lock
    )
    assert process.stdout is not None
    try:
        said = next(line.rstrip() for line in process.stdout if line.startswith("lyftlearn: "))
        flight = {"dest": "BOS", "carrier": "AA", "distance": 184, "departure": 480, "clock_minutes": 70}
        asked = json.dumps({"flights": [{**flight, "month": 38.5, "week_change": 0.5, "day_change": None}]})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/invocations", asked.encode(), timeout=600) as answer:
            return said, json.loads(answer.read())
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)


def test_one_image_trains_and_serves(in_the_image: Platforms, tmp_path: Path) -> None:
    """On this machine and on the test cluster: the same model, whose own tests pass, and the same answers."""
    here, there = train(in_the_image, "local"), train(in_the_image, "kubernetes")
    for backend, job_id in (("local", here), ("kubernetes", there)):
        lyftlearn(in_the_image, backend, "download", job_id, str(tmp_path / backend), "--output", "model")
    card = "model/selftest/ten-flights.expected.json"
    assert (tmp_path / "local" / card).read_text() == (tmp_path / "kubernetes" / card).read_text()
    answers = [serve(in_the_image, job_id) for job_id in (here, there)]
    assert answers[0][0].endswith(": 1 self-test passed")
    assert answers[0][1] == answers[1][1]
    (minutes,) = answers[0][1]["minutes"]
    assert 25 < minutes < 60
    held = ("parity", "run", "--serve", f"{here},{there}", "--", "python3", "serve.py")
    assert "parity holds: every answer is the same, and as expected (1 self-test, 4 servers" in lyftlearn(
        in_the_image, "local", *held
    )
