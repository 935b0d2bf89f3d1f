"""For the tests of code that submits jobs: `Fake`. For authors of backends: the suite that says whether they have one.

A test of code that submits jobs takes the fixture `lyftlearn_fake`, which pytest finds, or opens a `Fake` itself.

A backend's test is a fixture and a subclass::

    from lyftlearn.testing import BackendConformance

    class TestMine(BackendConformance):
        @pytest.fixture
        def new_backend(self, tmp_path):
            settings = BackendSettings(name="mine", table={}, home=tmp_path, storage_url=tmp_path.as_uri())
            return lambda: create(settings)

The suite needs pytest, and the fake does not: `pip install 'lyftlearn[test]'`. It asks for capabilities, never for
names: what a backend says that it lacks is skipped, or must fail, and its plans must say so too.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.testing.conformance import BackendConformance as BackendConformance
    from lyftlearn.testing.conformance import ClientConformance as ClientConformance
    from lyftlearn.testing.conformance import Harness as Harness
    from lyftlearn.testing.fake import Fake as Fake
    from lyftlearn.testing.fake import Outcome as Outcome

__all__ = ["BackendConformance", "ClientConformance", "Fake", "Harness", "Outcome"]

_SUITE = "lyftlearn.testing.conformance"
_FAKE = "lyftlearn.testing.fake"


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: the fake must not need pytest, and the suite no fake."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FAKE) if name in ("Fake", "Outcome") else _suite(), name)


def _suite() -> Any:
    if _SUITE not in sys.modules:
        try:
            import pytest  # noqa: PLC0415
        except ImportError as exc:
            raise ImportError("the suite runs under pytest: pip install 'lyftlearn[test]'") from exc
        pytest.register_assert_rewrite(_SUITE)
    return importlib.import_module(_SUITE)
