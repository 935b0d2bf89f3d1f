"""The Dockerfiles of the base images keep the rules that builders and readers of images go by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = sorted(path.parent.name for path in (ROOT / "images").glob("*/Dockerfile"))
JOBS_START = 'ENTRYPOINT ["python3", "-I", "/opt/lyftlearn/runtime.pyz", "run"]'


def instructions(image: str) -> list[str]:
    """Each instruction on one line, without comments."""
    text = (ROOT / "images" / image / "Dockerfile").read_text()
    return re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()


def test_there_are_three() -> None:
    """A path that moved would leave the other tests without a case."""
    assert IMAGES == ["lyftlearn", "lyftlearn-distributed", "lyftlearn-dl"]


@pytest.mark.parametrize("image", IMAGES)
def test_lint(image: str) -> None:
    """The field's own linter has nothing to say."""
    program = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run(
        [program, f"images/{image}/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


@pytest.mark.parametrize("image", IMAGES)
def test_what_changes_least_comes_first(image: str) -> None:
    """A new version of lyftlearn is one small layer for whoever has the version before."""
    layers = [line for line in instructions(image) if line.startswith(("RUN", "COPY"))]
    order = ["apt-get", "venv", "torch==", "requirements.txt", "pyspark==", "dist,target"]
    places = [order.index(word) for line in layers for word in order if word in line and "apt-get" not in line]
    places += [0 for line in layers[1:] if "apt-get" in line]
    assert places == sorted(places)


@pytest.mark.parametrize("image", IMAGES)
def test_everything_is_pinned(image: str) -> None:
    """The same commit makes the same image a year later, as far as its sources go."""
    for line in instructions(image):
        if match := re.match(r"ARG BASE=(.*)", line):
            assert match[1] == "localhost/lyftlearn" or re.search(r":\d+\.\d+\.\d+", match[1])
        for packages in re.findall(r"apt-get install (.*?)(?: &&|$)", line):
            assert [word for word in packages.split() if not word.startswith("--") and "=" not in word] == []
    pins = (ROOT / "requirements/images.txt").read_text().splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.]+", pin)] == []


@pytest.mark.parametrize("image", IMAGES)
def test_a_container_starts_the_runtime_as_root(image: str) -> None:
    """On SageMaker the runtime must be root to become the job's user, and children of a search have no other start."""
    lines = instructions(image)
    assert not any(line.startswith(("USER", "CMD")) for line in lines)
    entrypoints = [line for line in lines if line.startswith("ENTRYPOINT")]
    assert entrypoints == ([] if image == "lyftlearn-distributed" else [JOBS_START])


@pytest.mark.parametrize("image", IMAGES)
def test_no_layer_is_given_a_secret(image: str) -> None:
    """What opens a package index is mounted for one instruction, and stays outside of the image and of its history."""
    for line in instructions(image):
        assert not re.match(r"(ARG|ENV).*(PASSWORD|TOKEN|SECRET|INDEX)", line)
        assert "pip install" not in line or "--no-cache-dir" in line
        assert "pip install" not in line or "--no-index" in line or "type=secret,id=pip.conf" in line
