"""A backend written by a stranger, from the contract alone, is a backend."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, BackendSettings
from lyftlearn.testing import BackendConformance, ClientConformance

PLUGIN = Path(__file__).parent / "plugin"


class TestBare(BackendConformance):
    @pytest.fixture
    def new_backend(self, tmp_path: Path, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Backend]:
        monkeypatch.syspath_prepend(PLUGIN)
        (entry_point,) = entry_points(group="lyftlearn.backends", name="bare")
        settings = BackendSettings(name="bare", table={}, home=tmp_path, storage_url=storage_url)
        return lambda: entry_point.load()(settings)

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)


class TestBareThroughTheClient(ClientConformance):
    @pytest.fixture
    def config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        monkeypatch.syspath_prepend(PLUGIN)
        return {"backend": "bare", "home": str(tmp_path)}

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)
