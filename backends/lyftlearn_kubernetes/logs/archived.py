"""Logs that outlived their pods, in the storage."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count, takewhile
from typing import TYPE_CHECKING

from lyftlearn.backend import LogLine, LogQuery, open_storage
from lyftlearn_kubernetes.labels import log_directory
from lyftlearn_kubernetes.logs.cursor import parse, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lyftlearn_kubernetes.logs.cursor import StampedLine

_LARGEST = 256 << 20  # bytes: the lines of a log are in memory together
_MOST_PODS = 1000  # of one node, as many as the runtime keeps logs of


def pod_logs(storage_url: str, job_id: str, node: int) -> Iterator[tuple[str, list[StampedLine]]]:
    """Yield name and lines of each pod that ran a node, in the order in which they ended.

    Raises LyftLearnError, which names its URI, for a log that is too large to be read as a whole.
    """
    storage = open_storage(storage_url)
    for number in range(_MOST_PODS):
        record = storage.read(f"{log_directory(job_id)}/{node}-{number}.log", _LARGEST)
        if record is None:
            return
        name, _, lines = record.data.partition(b"\n")
        yield name.decode(), [part for line in map(parse, lines.split(b"\n")) if line for part in parts(line)]


def kept_lines(storage_url: str, job_id: str, query: LogQuery) -> Iterator[LogLine]:
    """Yield the lines of all nodes, or of the one that is asked for, of a job that is gone."""
    nodes = count() if query.node is None else (query.node,)
    logs = takewhile(lambda log: log[1], ((node, list(pod_logs(storage_url, job_id, node))) for node in nodes))
    yield from heapq.merge(*(_node_lines(node, pods, query) for node, pods in logs), key=lambda line: line.at)


def _node_lines(node: int, pods: Sequence[tuple[str, list[StampedLine]]], query: LogQuery) -> Iterator[LogLine]:
    lines = (line for _, of_pod in pods for line in of_pod)
    wanted = (line for line in lines if query.since is None or line.at >= query.since)
    for line in deque(wanted, maxlen=query.tail):
        yield LogLine(node, line.at, line.text.decode(errors="replace"))


def has_lost_its_beginning(storage_url: str, job_id: str, pod: str, first: StampedLine) -> bool:
    """Return whether `first`, the first line that a node still has of a pod, comes after what the pod printed first.

    The runtime notes when the first part of a long log was complete: too little for a node to drop it before.
    """
    record = open_storage(storage_url).read(f"{log_directory(job_id)}/{pod}.beginning")
    complete = parse(record.data.strip()) if record else None
    return complete is not None and first.stamp > complete.stamp
