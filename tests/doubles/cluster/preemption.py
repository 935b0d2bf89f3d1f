"""A queue that preempts every job once, as soon as its containers run, and lets it go on when its pods are gone."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.store import ApiError, Object


class Preemption(threading.Thread):
    """Preempts while the `with` block lasts. taken: the jobs that were."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True, name="preemption")
        self._cluster = cluster
        self._closed = threading.Event()
        self._held: set[str] = set()
        self.taken: set[str] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self.join()

    def run(self) -> None:
        store = self._cluster.store
        while not self._closed.is_set():
            version = store.version
            for pod in store.all("pods"):
                job_id = pod["metadata"]["labels"].get("lyftlearn/job")
                if job_id and job_id not in self.taken and _runs(pod):
                    self.taken.add(job_id)
                    self._held.add(job_id)
                    self._suspend(job_id, wish=True)
            for job_id in [held for held in self._held if not self._cluster.pods(held)]:
                self._held.remove(job_id)
                self._suspend(job_id, wish=False)
            store.wait(version, 0.1)

    def _suspend(self, job_id: str, *, wish: bool) -> None:
        try:
            self._cluster.suspend(job_id, wish=wish)
        except ApiError:  # somebody has deleted it
            self._held.discard(job_id)


def _runs(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    return any(one["name"] == "main" and "running" in one["state"] for one in statuses)
