"""The lines of a job's pods, each once: from the pods while they are there, and from the storage afterwards."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from lyftlearn_kubernetes.logs.node_log import NodeLog
from lyftlearn_kubernetes.status import jobs, observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import LogLine, LogQuery
    from lyftlearn_kubernetes.api.cluster import Cluster


class LogReader:
    """Reads the logs of one namespace."""

    def __init__(self, cluster: Cluster, storage_url: str) -> None:
        self._cluster = cluster
        self._storage_url = storage_url

    def lines(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines of every node that the query selects."""
        job = observed.job(jobs.fetch(self._cluster, job_id))
        nodes = [node for node in range(job.nodes) if query.node in (None, node)]
        readers = [NodeLog(self._cluster, self._storage_url, job_id, node, query) for node in nodes]
        if not query.follow:
            for reader in readers:
                yield from reader.available()
        elif len(readers) == 1:
            yield from readers[0].follow()
        else:
            yield from _merge(readers)


def _merge(readers: list[NodeLog]) -> Iterator[LogLine]:
    """Yield the lines of all nodes as they come, so that a node that prints nothing delays no other."""
    queue: SimpleQueue[LogLine | BaseException | None] = SimpleQueue()

    def read(reader: NodeLog) -> None:
        try:
            for line in reader.follow():
                queue.put(line)
            queue.put(None)
        except BaseException as exc:  # noqa: BLE001 - raised again where the lines are read
            queue.put(exc)

    for reader in readers:
        threading.Thread(target=read, args=(reader,), daemon=True, name="lyftlearn-log").start()
    going_on = len(readers)
    try:
        while going_on:
            item = queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                going_on -= 1
            else:
                yield item
    finally:
        for reader in readers:
            reader.close()
