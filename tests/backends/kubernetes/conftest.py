"""The cluster of these tests: a small one of their own, or for the conformance suite the one that variables lead to.

LYFTLEARN_TEST_KUBECONFIG, _NAMESPACE, _IMAGE (with Python 3.8 or newer, and boto3) and _STORAGE (`s3://...`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings
from lyftlearn.testing import Harness
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.cluster import IMAGE, Cluster


def real(name: str) -> str | None:
    """What the variable LYFTLEARN_TEST_<name> says of a real cluster; None where there is none."""
    return os.environ.get(f"LYFTLEARN_TEST_{name}")


def image() -> str:
    """The image of the jobs."""
    return real("IMAGE") or IMAGE


def patience() -> float:
    """Seconds within which a trivial job ends, on a real cluster and on a busy machine."""
    return 600


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the tests of one module."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return real("STORAGE") or (tmp_path / "storage").as_uri()


@pytest.fixture
def table(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """`[kubernetes]`: the storage's directory is mounted in every pod."""
    if real("KUBECONFIG"):
        return {"kubeconfig": real("KUBECONFIG"), "namespace": real("NAMESPACE") or "default", "keep": "1h"}
    cluster: Cluster = request.getfixturevalue("cluster")
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    return {"kubeconfig": str(cluster.kubeconfig()), "volumes": [volume], "starting": "3s"}


@pytest.fixture
def new_backend(table: dict[str, Any], storage_url: str, tmp_path: Path) -> Callable[..., KubernetesBackend]:
    """Make a backend as a new process would."""

    def make(**changes: Any) -> KubernetesBackend:
        settings = BackendSettings(
            name="kubernetes", table={**table, **changes}, home=tmp_path / "home", storage_url=storage_url
        )
        return KubernetesBackend(settings)

    return make


@pytest.fixture
def backend(new_backend: Callable[..., KubernetesBackend]) -> KubernetesBackend:
    return new_backend()


@pytest.fixture
def new_harness(new_backend: Callable[..., KubernetesBackend], storage_url: str) -> Iterator[Callable[..., Harness]]:
    """Make a harness over a backend with another configuration."""
    made: list[Harness] = []

    def make(**changes: Any) -> Harness:
        harness = Harness(new_backend(**changes), storage_url, ("python3",), patience())
        harness.defaults = {"image": image()}
        made.append(harness)
        return harness

    yield make
    for harness in made:
        harness.close()


@pytest.fixture
def harness(new_harness: Callable[..., Harness]) -> Harness:
    return new_harness()
