"""Every backend at once, for searches that must be the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import require_containers
from tests.doubles.old_and_new import make, plugins
from tests.doubles.platforms import Platforms, platforms

__all__ = ["everywhere", "make", "plugins"]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """All five backends, which share a storage."""
    require_containers()
    with platforms(tmp_path_factory.mktemp("everywhere")) as running:
        yield running
