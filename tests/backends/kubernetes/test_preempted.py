"""The conformance suite, with a preemption in the course of every job: nobody who submits jobs can tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from lyftlearn.backend import Backend, JobRecord, JobSpec
from lyftlearn.testing import BackendConformance, Harness
from tests.backends.kubernetes.conftest import image, patience
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.store import ApiError, wait_until


class PreemptingHarness(Harness):
    """Suspends each job once its first container is there, as a queue does for a job of higher priority."""

    cluster: Cluster

    def submit(self, spec: JobSpec) -> JobRecord:
        """Submit, and let the cluster go on as it does, meanwhile."""
        record = super().submit(spec)
        threading.Thread(target=self._preempt, args=(spec.id,), daemon=True).start()
        return record

    def _preempt(self, job_id: str) -> None:
        with suppress(AssertionError, ApiError):  # it may be gone by then: stopped, removed, or refused
            wait_until(lambda: any(map(self.cluster.has_container, self.cluster.pods(job_id))), 60)
            self.cluster.suspend(job_id, wish=True)
            wait_until(lambda: not self.cluster.pods(job_id), 60)
            self.cluster.suspend(job_id, wish=False)


@pytest.mark.slow
class TestPreempted(BackendConformance):
    """What every backend must do."""

    room_for_gangs = True

    @pytest.fixture
    def new_backend(self, new_backend: Callable[[], Backend]) -> Callable[[], Backend]:
        return new_backend

    @pytest.fixture
    def storage_url(self, storage_url: str) -> str:
        return storage_url

    @pytest.fixture
    def harness(self, backend: Backend, storage_url: str, cluster: Cluster) -> Iterator[Harness]:
        harness = PreemptingHarness(backend, storage_url, ("python3",), patience())
        harness.cluster = cluster
        harness.defaults = {"image": image()}
        yield harness
        harness.close()
