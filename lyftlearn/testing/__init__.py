"""For authors of backends: the suite that says whether something is a backend.

A backend's test is a fixture and a subclass::

    from lyftlearn.testing import BackendConformance

    class TestMine(BackendConformance):
        @pytest.fixture
        def new_backend(self, tmp_path):
            settings = BackendSettings(name="mine", table={}, home=tmp_path, storage_url=tmp_path.as_uri())
            return lambda: create(settings)

The suite needs pytest: `pip install 'lyftlearn[test]'`. It asks for capabilities, never for names: what a backend says
that it lacks is skipped, or must fail, and its plans must say so too.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.testing.conformance import BackendConformance as BackendConformance
    from lyftlearn.testing.conformance import ClientConformance as ClientConformance
    from lyftlearn.testing.conformance import Harness as Harness

__all__ = ["BackendConformance", "ClientConformance", "Harness"]

_SUITE = "lyftlearn.testing.conformance"


def __getattr__(name: str) -> Any:
    """Load the suite when it is first used: what else lives here must not need pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_suite(), name)


def _suite() -> Any:
    if _SUITE not in sys.modules:
        try:
            import pytest  # noqa: PLC0415
        except ImportError as exc:
            raise ImportError("the suite runs under pytest: pip install 'lyftlearn[test]'") from exc
        pytest.register_assert_rewrite(_SUITE)
    return importlib.import_module(_SUITE)
