"""The conformance suite, over a socket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from lyftlearn.backend import Backend
from lyftlearn.testing import BackendConformance, Harness
from tests.kubernetes.cluster.cluster import IMAGE


class TestKubernetes(BackendConformance):
    """What every backend must do."""

    @pytest.fixture
    def new_backend(self, new_backend):  # type: ignore[no-untyped-def]
        return new_backend

    @pytest.fixture
    def harness(self, backend: Backend, storage_url: str, python: Sequence[str], patience: float) -> Iterator[Harness]:
        harness = Harness(backend, storage_url, python, patience)
        harness.defaults = {"image": IMAGE}
        yield harness
        harness.close()
