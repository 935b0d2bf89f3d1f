"""Tests that run containers do so in namespaces, and are left out where this machine gives none."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

import lyftlearn
import lyftlearn_local
from lyftlearn_local.supervisor import sandbox


@cache
def why_none() -> str | None:
    """Why no container can be run here as platforms run them, or None if one can."""
    if os.geteuid() != 0:
        return "as on a platform they start as root and become the job's user, so these tests need root"
    return sandbox.unusable(sandbox.AS_POD)


def lyftlearn_roots() -> list[Path]:
    """Where this lyftlearn lies, as the image of searches' drivers has one."""
    return [Path(str(package.__file__)).parents[1] for package in (lyftlearn, lyftlearn_local)]


def require_containers() -> None:
    """Leave a test out, and say why, where no container can be run."""
    if reason := why_none():
        pytest.skip(f"runs containers: {reason}")
