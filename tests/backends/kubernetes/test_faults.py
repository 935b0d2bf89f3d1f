"""The conformance suite through a network that resets, delays, doubles and truncates, by recorded seeds."""

from __future__ import annotations

import contextlib
import http.client
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend
from lyftlearn.testing import BackendConformance, Harness
from tests.backends.kubernetes.proxy import Proxy
from tests.doubles.cluster.cluster import IMAGE, Cluster

SEEDS = [1, 2]
CHANCE = 0.12


@pytest.mark.slow
class TestThroughABadNetwork(BackendConformance):
    """Nothing lost, nothing doubled, every final state right."""

    @pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
    def proxy(self, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Proxy]:
        with Proxy(cluster.api.port, seed=request.param, chance=CHANCE) as proxy:
            yield proxy

    @pytest.fixture
    def table(self, cluster: Cluster, proxy: Proxy, tmp_path: Path) -> dict[str, Any]:
        volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
        return {"kubeconfig": str(cluster.kubeconfig(url=proxy.url, name=f"{tmp_path.name}.json")), "volumes": [volume]}

    @pytest.fixture
    def new_backend(self, new_backend):  # type: ignore[no-untyped-def]
        return new_backend

    @pytest.fixture
    def harness(self, backend: Backend, storage_url: str, python: Sequence[str], patience: float) -> Iterator[Harness]:
        harness = Harness(backend, storage_url, python, patience)
        harness.defaults = {"image": IMAGE}
        yield harness
        harness.close()

    @pytest.fixture
    def lose_container(self, cluster: Cluster) -> Callable[[str], None]:
        """The pod's node is drained."""
        return lambda job_id: cluster.drain(cluster.pods(job_id)[0])


def test_the_network_is_bad(cluster: Cluster) -> None:
    """A suite that passes because nothing was broken would prove nothing."""
    with Proxy(cluster.api.port, seed=SEEDS[0], chance=CHANCE) as proxy:
        for _ in range(200):
            with contextlib.suppress(OSError, http.client.HTTPException):
                urllib.request.urlopen(f"{proxy.url}/version", data=b"", timeout=10).read()
        assert len(set(proxy.faults)) == 5, proxy.faults
