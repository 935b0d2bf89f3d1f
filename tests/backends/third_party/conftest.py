from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stranger's distribution on the path, as an installation would."""
    monkeypatch.syspath_prepend(PLUGIN)
    return PLUGIN


@pytest.fixture
def create(plugin: Path) -> Callable[..., Any]:
    """What the stranger's entry point loads."""
    (entry_point,) = entry_points(group="lyftlearn.backends", name="bare")
    loaded: Callable[..., Any] = entry_point.load()
    return loaded
