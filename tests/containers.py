"""Tests that run containers do so in namespaces, and are left out where this machine gives none."""

from __future__ import annotations

from functools import cache

import pytest

from lyftlearn_local.supervisor import sandbox


@cache
def why_none() -> str | None:
    """Why no container can be run here, or None if one can."""
    return sandbox.unusable(sandbox.AS_POD)


def require_containers() -> None:
    """Leave a test out, and say why, where no container can be run."""
    if reason := why_none():
        pytest.skip(f"runs containers: {reason}")
