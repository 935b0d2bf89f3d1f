"""The lines of a job's pods, each once: from the pods while they are there, and from the storage afterwards."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes.api.patience import Patience
from lyftlearn_kubernetes.logs.node_log import NodeLog
from lyftlearn_kubernetes.status import jobs, observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import LogLine, LogQuery
    from lyftlearn_kubernetes.api.cluster import Cluster

_MOST_WAITING = 10_000
"""Lines that all nodes of a job together have ahead of who reads them."""
_SECONDS_TO_LOOK_UP = 1.0


class LogReader:
    """Reads the logs of one namespace."""

    def __init__(self, cluster: Cluster, storage_url: str) -> None:
        self._cluster = cluster
        self._storage_url = storage_url

    def lines(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines of every node that the query selects."""
        job = observed.readable_job(self._fetch(job_id, query))
        nodes = [node for node in range(job.nodes) if query.node in (None, node)]
        readers = [NodeLog(self._cluster, self._storage_url, job_id, node, query) for node in nodes]
        if not query.follow:
            for reader in readers:
                yield from reader.available()
        elif len(readers) == 1:
            yield from readers[0].follow()
        else:
            yield from _Merge(readers).lines()

    def _fetch(self, job_id: str, query: LogQuery) -> dict[str, Any]:
        """Return the Job. Who follows may begin in an outage."""
        if not query.follow:
            return jobs.fetch(self._cluster, job_id)
        return Patience().bear(lambda: jobs.fetch(self._cluster, job_id))


class _Merge:
    """The lines of all nodes as they come, so that a node that prints nothing delays no other."""

    def __init__(self, readers: list[NodeLog]) -> None:
        self._readers = readers
        self._queue: Queue[LogLine | BaseException | None] = Queue(_MOST_WAITING)
        self._closed = threading.Event()

    def lines(self) -> Iterator[LogLine]:
        """Yield until every node's log has ended."""
        for reader in self._readers:
            threading.Thread(target=self._read, args=(reader,), daemon=True, name="lyftlearn-log").start()
        going_on = len(self._readers)
        try:
            while going_on:
                item = self._queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    going_on -= 1
                else:
                    yield item
        finally:
            self._closed.set()
            for reader in self._readers:
                reader.close()

    def _read(self, reader: NodeLog) -> None:
        try:
            for line in reader.follow():
                self._put(line)
            self._put(None)
        except BaseException as exc:  # noqa: BLE001 - raised again where the lines are read
            self._put(exc)

    def _put(self, item: LogLine | BaseException | None) -> None:
        """Wait until there is room, as long as anybody reads."""
        while not self._closed.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=_SECONDS_TO_LOOK_UP)
                return
