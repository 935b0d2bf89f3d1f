"""The cluster of these tests: a small one of their own, or the one that LYFTLEARN_TEST_KUBECONFIG leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings
from lyftlearn.testing import Harness
from lyftlearn_kubernetes._backend import KubernetesBackend
from tests.kubernetes.cluster.cluster import IMAGE, Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the tests of one module."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def table(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    """`[kubernetes]`: the storage's directory is mounted in every pod."""
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    return {"kubeconfig": str(cluster.kubeconfig()), "volumes": [volume], "starting": "3s"}


@pytest.fixture
def new_backend(table: dict[str, Any], tmp_path: Path) -> Callable[..., KubernetesBackend]:
    """Make a backend as a new process would."""

    def make(**changes: Any) -> KubernetesBackend:
        storage = (tmp_path / "storage").as_uri()
        settings = BackendSettings(
            name="kubernetes", table={**table, **changes}, home=tmp_path / "home", storage_url=storage
        )
        return KubernetesBackend(settings)

    return make


@pytest.fixture
def backend(new_backend: Callable[..., KubernetesBackend]) -> KubernetesBackend:
    return new_backend()


@pytest.fixture
def harness(backend: KubernetesBackend, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(backend, (tmp_path / "storage").as_uri(), ("python3",), 60)
    harness.defaults = {"image": IMAGE}
    yield harness
    harness.close()


@pytest.fixture
def new_harness(new_backend: Callable[..., KubernetesBackend], tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Make a harness over a backend with another configuration."""
    made: list[Harness] = []

    def make(**changes: Any) -> Harness:
        harness = Harness(new_backend(**changes), (tmp_path / "storage").as_uri(), ("python3",), 60)
        harness.defaults = {"image": IMAGE}
        made.append(harness)
        return harness

    yield make
    for harness in made:
        harness.close()
