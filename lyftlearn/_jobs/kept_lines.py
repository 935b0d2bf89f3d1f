"""Lines of the log of a job that is gone: from where its platform still has it, or from the storage."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, takewhile

from lyftlearn._jobs.watcher import SharedWatch
from lyftlearn._storage import Storage
from lyftlearn._storage.kept_logs import StampedLine, container_logs, log_directory
from lyftlearn.backend import KeptLog, LogLine, LogQuery


def find_kept_log(watch: SharedWatch, job_id: str, query: LogQuery) -> KeptLog | None:
    """Return what the platform itself still has of a log, or else what is in the storage; None if neither has it."""
    return watch.backend.kept_log(job_id, query) or _stored_log(watch.storage, job_id, query)


def _stored_log(storage: Storage, job_id: str, query: LogQuery) -> KeptLog | None:
    """Return the log of all nodes, or of the one that is asked for."""
    nodes = count() if query.node is None else (query.node,)
    logs = ((node, list(container_logs(storage, job_id, node))) for node in nodes)
    kept = list(takewhile(lambda log: log[1], logs))
    if not kept:
        return None
    lines = heapq.merge(*(_node_lines(node, found, query) for node, found in kept), key=lambda line: line.at)
    return KeptLog(storage.uri(log_directory(job_id)), lines)


def _node_lines(node: int, found: Sequence[tuple[str, list[StampedLine]]], query: LogQuery) -> Iterator[LogLine]:
    lines = (line for _, of_container in found for line in of_container)
    wanted = (line for line in lines if query.since is None or line.at >= query.since)
    for line in deque(wanted, maxlen=query.tail):
        yield LogLine(node, line.at, line.text.decode(errors="replace"))
