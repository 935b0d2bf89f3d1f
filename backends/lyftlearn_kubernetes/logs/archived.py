"""Logs that outlived their pods, in the storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn.backend import kept_logs, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import StampedLine


def pod_logs(storage_url: str, job_id: str, node: int) -> Iterator[tuple[str, list[StampedLine]]]:
    """Yield name and lines of each pod that ran a node, in the order in which they ended.

    Raises LyftLearnError, which names its URI, for a log that is too large to be read as a whole.
    """
    return kept_logs.container_logs(open_storage(storage_url), job_id, node)


def has_lost_its_beginning(storage_url: str, job_id: str, pod: str, first: StampedLine) -> bool:
    """Return whether `first`, the first line that a node still has of a pod, comes after what the pod printed first.

    The runtime notes when the first part of a long log was complete: too little for a node to drop it before.
    """
    record = open_storage(storage_url).read(f"{kept_logs.log_directory(job_id)}/{pod}.beginning")
    complete = kept_logs.parse(record.data.strip()) if record else None
    return complete is not None and first.stamp > complete.stamp
