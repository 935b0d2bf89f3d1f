"""The conformance suite, over a socket: on the tests' own cluster, or on any other that variables lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lyftlearn.backend import Backend
from lyftlearn.testing import BackendConformance, Harness
from tests.kubernetes.conftest import image, patience


class TestKubernetes(BackendConformance):
    """What every backend must do."""

    @pytest.fixture
    def new_backend(self, new_backend: Callable[[], Backend]) -> Callable[[], Backend]:
        return new_backend

    @pytest.fixture
    def storage_url(self, storage_url: str) -> str:
        return storage_url

    @pytest.fixture
    def harness(self, backend: Backend, storage_url: str) -> Iterator[Harness]:
        harness = Harness(backend, storage_url, ("python3",), patience())
        harness.defaults = {"image": image()}
        yield harness
        harness.close()
