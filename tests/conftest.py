"""What every test has: as much time as a busy machine, or a real platform, needs."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator

import botocore.session
import pytest
from hypothesis import HealthCheck, settings

from lyftlearn import ops
from lyftlearn._text import redaction
from tests.containers import require_containers

# Each session would parse the same definitions of AWS's services anew, which costs more than most tests do.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
settings.register_profile("lyftlearn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lyftlearn")
DOCTOR_SECONDS = 300.0
BACKSTOP = 7200
"""Seconds after which a test is ended that waits for jobs by its own patience, several times over: it hangs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests end by their patience that have one, or are slow: it is longer than the usual limit of a test."""
    for item in items:
        has_patience = hasattr(getattr(item, "cls", None), "patience") or item.get_closest_marker("slow") is not None
        if has_patience and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BACKSTOP))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what this machine cannot run, and say why."""
    if item.get_closest_marker("containers") is not None:
        require_containers()


@pytest.fixture(scope="session", autouse=True)
def _patient_doctor() -> None:
    """On a busy machine no check is late: its seconds are for those who wait for a network that is away."""
    ops.doctor.__kwdefaults__ = {**(ops.doctor.__kwdefaults__ or {}), "seconds": DOCTOR_SECONDS}


@pytest.fixture(scope="module", autouse=True)
def _secrets_of_this_module() -> Iterator[None]:
    """What another module made known as a secret, such as the name `lyftlearn`, hides no word here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", set())
        yield


@pytest.fixture(autouse=True)
def _secrets_of_this_test(_secrets_of_this_module: None) -> Iterator[None]:
    """Nor does what another test made known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", set(redaction._known))
        yield


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which nobody listens, and which nobody else gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
