"""Sentences that more than one place says. A comparison of backends holds messages to be equal, word for word."""

from __future__ import annotations

from datetime import timedelta

from lyftlearn.runtime import faults

STOP_REQUESTED = "asked to stop"
SIGNALLED = "a process in the job's container sent SIGTERM to process 1, which ends the job as a stop does"
CAPACITY_ENDED = "its reserved capacity ended"
OUT_OF_MEMORY = "killed by the kernel: the node needed more memory than resources.memory"
no_such_secret = faults.no_such_secret


def no_capacity(pending: timedelta) -> str:
    """Return what is said of a job for which no machine was free within `pending`."""
    return f"no machine was free within {pending}"


def place_in_queue(place: int, queue: str) -> str:
    """Return what is said of a job that waits in a queue; the first has place 1."""
    return f"number {place} in queue {queue}"
