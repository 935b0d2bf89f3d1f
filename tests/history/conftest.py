"""The fixtures of this room's tests."""

from __future__ import annotations

from tests.doubles.old_and_new import make, plugins
from tests.doubles.postgres import postgres

__all__ = ["make", "plugins", "postgres"]
