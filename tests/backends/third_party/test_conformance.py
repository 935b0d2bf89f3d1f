"""A backend written by a stranger, from the contract alone, is a backend."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, BackendSettings
from lyftlearn.testing import BackendConformance, ClientConformance

# The tests on the page, of test_docs.py, and of broken backends, of test_teeth.py, run on it every time.
pytestmark = pytest.mark.slow


class TestBare(BackendConformance):
    @pytest.fixture
    def new_backend(
        self, tmp_path: Path, storage_url: str, create: Callable[[BackendSettings], Backend]
    ) -> Callable[[], Backend]:
        settings = BackendSettings(name="bare", table={}, home=tmp_path, storage_url=storage_url)
        return lambda: create(settings)

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)


class TestBareThroughTheClient(ClientConformance):
    @pytest.fixture
    def config(self, tmp_path: Path, plugin: Path) -> dict[str, str]:
        return {"backend": "bare", "home": str(tmp_path)}

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)
