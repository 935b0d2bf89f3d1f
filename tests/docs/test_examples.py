"""Configuration and commands on the pages are accepted as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops

from .site import DOCS

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("*/*.md")}
BACKENDS = {
    "local": "local",
    "kubernetes": "kubernetes",
    "sagemaker": "sagemaker",
    "configuration": "kubernetes",
    "mounts": "kubernetes",
    "spark": "kubernetes",
    "dashboard": "kubernetes",
    "history-and-cost": "kubernetes",
    "serving": "kubernetes",
    "airflow": "kubernetes",
    "migration": "kubernetes-west",
}


def examples(page: str) -> list[dict[str, Any]]:
    """Every example of configuration on a page, read."""
    return [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL)]


def together(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the examples of a page say together: each adds to those before."""
    merged: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            merged[name] = together([merged.get(name, {}), value]) if isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize("page", BACKENDS)
def test_what_a_page_configures_is_accepted(page: str, tmp_path: Path) -> None:
    """Whoever copies an example gets a job, and not a lesson in spelling."""
    config = {"home": str(tmp_path), "storage": {"url": "s3://ml-jobs/lyftlearn"}, **together(examples(page))}
    image = {} if page == "local" else {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/eta:1"}
    client = Client(config=config)
    planned = ops.plan("train", client=client, backend=BACKENDS[page], model="eta", command=["true"], **image)
    assert planned.plan.faults == ()


def test_every_page_with_an_example_is_tried() -> None:
    """A page whose examples nobody tries is wrong after the next change. The quick start has a single line."""
    assert {page for page in PAGES if examples(page)} - {*BACKENDS, "quick-start"} == set()


def test_a_local_secret_arrives(tmp_path: Path) -> None:
    """The commands of the page make a secret that a job finds, and nobody else can read."""
    section = PAGES["local"].partition("## Secrets")[2].partition("\n## ")[0]
    commands = re.findall(r"^    \$ (.+)$", section, re.MULTILINE)
    expected = re.findall(r"^    ([^$].+)$", section, re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LYFTLEARN_")}
    environment = clean | {"HOME": str(tmp_path), "PATH": path, "PASSWORD": "a password"}
    typed = "\n".join(["set -e", *commands])
    ran = subprocess.run(
        ["sh", "-c", typed], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert (ran.returncode, ran.stdout.splitlines()) == (0, expected), ran.stderr
    assert [oct(path.stat().st_mode)[-3:] for path in tmp_path.glob(".lyftlearn/secrets/*/*")] == ["600"]
