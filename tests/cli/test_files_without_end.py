"""A path that somebody names may be a device or a pipe: it is told, in time, and nobody waits for its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import CommandLine

PLACES = {
    "configuration": "jobs",
    "hyperparameters": "train eta --hyperparameters {path} -- true",
    "plan": "apply {path}",
    "parity": "parity show {path}",
    "prices": "cost",
    "kubeconfig": "jobs",
    "flags": "explain train eta -- true",
}
TABLES = {
    "prices": '[cost]\nprices = "{path}"\n',
    "kubeconfig": 'backend = "kubernetes"\n[kubernetes]\nkubeconfig = "{path}"\n',
    "flags": 'backend = "local"\n[migration]\nto = "local-kubernetes"\nflags = "{path}"\n',
}


@pytest.mark.parametrize("kind", ["a device", "a pipe"])
@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_names_a_file(lyftlearn: CommandLine, tmp_path: Path, place: str, kind: str) -> None:
    """The message names the path; there is no traceback, and no memory is filled."""
    path = tmp_path / "odd"
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    (lyftlearn.directory / "lyftlearn.toml").write_text(TABLES.get(place, "").format(path=path))
    variables = {"LYFTLEARN_CONFIG": str(path)} if place == "configuration" else {}
    ran = lyftlearn(*PLACES[place].format(path=path).split(), **variables)
    assert "Traceback" not in ran.err
    assert str(path) in ran.out + ran.err, (ran.out, ran.err)
    assert place == "flags" or ran.code not in (0, 70), (ran.code, ran.err)
