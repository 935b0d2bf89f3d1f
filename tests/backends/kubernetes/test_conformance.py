"""The conformance suite, over a socket: on the tests' own cluster, or on any other that variables lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend
from lyftlearn.runtime.checkpoint_place import NOTES
from lyftlearn.testing import BackendConformance, ClientConformance, Harness
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._replacement import ReplacementConformance
from lyftlearn.testing.conformance._submission import FindingConformance
from tests.backends.kubernetes.conftest import image, patience, real
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.preemption import Preemption
from tests.doubles.cluster.store import wait_until


class OnCluster(Fixtures):
    """The fixtures of this platform."""

    room_for_gangs = real("KUBECONFIG") is None

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

    @pytest.fixture(params=["drained", *(pytest.param(how, marks=pytest.mark.slow) for how in ("lost", "suspended"))])
    def lose_container(
        self, cluster: Cluster, storage_url: str, request: pytest.FixtureRequest
    ) -> Callable[[str], None]:
        """The pod's node is drained, or dies without a word once the runtime has looked at the checkpoints.

        Or the job's queue suspends it, and lets it go on.
        """

        def lose(job_id: str) -> None:
            (pod,) = cluster.pods(job_id)
            if request.param == "drained":
                cluster.drain(pod)
                return
            if request.param == "suspended":
                cluster.suspend(job_id, wish=True)
                wait_until(lambda: not cluster.pods(job_id))
                cluster.suspend(job_id, wish=False)
                return
            kept = Path(storage_url.removeprefix("file://"), "jobs", job_id, "checkpoints")

            def is_there() -> bool:  # its queue may have suspended it meanwhile
                return pod["metadata"]["uid"] in [one["metadata"]["uid"] for one in cluster.pods(job_id)]

            names = (kept / "fold 1" / "epoch", kept / NOTES)
            wait_until(lambda: all(name.exists() for name in names) or not is_there(), 600)
            if is_there():
                cluster.lose_node_of(pod)

        return lose

    @pytest.fixture
    def take_machines(self, cluster: Cluster) -> Callable[[], AbstractContextManager[None]]:
        """No pod finds a place on the node."""

        @contextmanager
        def taken() -> Iterator[None]:
            cluster.node.room = 0
            try:
                yield
            finally:
                cluster.node.room = None

        return taken

    @pytest.fixture
    def impatient(self, new_harness: Callable[..., Harness]) -> Harness:
        return new_harness(pending="2s")

    @pytest.fixture
    def remove_job(self, cluster: Cluster) -> Callable[[str], None]:
        def remove(job_id: str) -> None:
            cluster.store.delete("jobs", NAMESPACE, job_id)

        return remove


class TestKubernetes(OnCluster, BackendConformance):
    """What every backend must do."""


@pytest.mark.slow
@pytest.mark.skipif(bool(real("KUBECONFIG")), reason="nobody preempts on a real cluster at a test's wish")
class TestKubernetesWhilePreempted(OnCluster, FindingConformance, ReplacementConformance):
    """The same of jobs that their queue suspends when they have begun, as far as it does not count a command's runs."""

    @pytest.fixture(autouse=True)
    def preemption(self, cluster: Cluster) -> Iterator[Preemption]:
        with Preemption(cluster) as preemption:
            yield preemption


# Every run holds clients to this platform by tests/golden, and all that clients do to `local`.
@pytest.mark.slow
@pytest.mark.skipif(bool(real("KUBECONFIG")), reason="one suite is enough to wait for")
class TestKubernetesThroughTheClient(ClientConformance):
    """Call sites as users write them."""

    @pytest.fixture
    def config(
        self, cluster: Cluster, table: dict[str, Any], storage_url: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> Mapping[str, Any]:
        """As `lyftlearn.toml` says it, in a namespace of the test's own."""
        namespace = f"n{abs(hash(request.node.nodeid)):x}"
        cluster.node.claims["shared"] = tmp_path / "mounted"
        cluster.create_namespace(namespace)
        return {
            "backend": "kubernetes",
            "project": "conformance",
            "home": str(tmp_path / "home"),
            "storage": {"url": storage_url},
            "jobs": {"image": image()},
            "kubernetes": {**table, "namespace": namespace},
            "mounts": {"data": {"path": "/data", "kubernetes": {"persistentVolumeClaim": "shared"}}},
        }

    @pytest.fixture
    def mount_directory(self, tmp_path: Path) -> Path:
        """The directory behind the claim."""
        (tmp_path / "mounted").mkdir()
        return tmp_path / "mounted"
