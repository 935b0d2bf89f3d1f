"""The backends `old` and `new`, registered as a stranger's plugin is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lyftlearn

HERE = Path(__file__).parent
Make = Callable[..., lyftlearn.Client]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the two backends importable, here and in child processes, and return the home of their jobs."""
    site = tmp_path / "site"
    info = site / "stores-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stores\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lyftlearn.backends]\nold = stores:create\nnew = stores:create\n")
    (site / "stores.py").symlink_to(HERE / "stores.py")
    monkeypatch.setattr("lyftlearn.history.background._SECONDS_TO_FINISH", 120.0)  # as long as a busy machine needs
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_FLAGS", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def make(plugins: Path) -> Make:
    """Return a function that makes a client in a stage, with the tables of the two backends."""

    def client(stage: str | None = "off", *, old: Any = None, new: Any = None, **migration: Any) -> lyftlearn.Client:
        table = {"from": "old", "to": "new"} | ({"stage": stage} if stage else {}) | migration
        config = {"home": str(plugins), "project": "tests", "migration": table}
        return lyftlearn.Client(config=config | {"old": old or {}, "new": new or {}})

    return client
