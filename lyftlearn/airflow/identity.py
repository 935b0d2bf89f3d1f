"""Which job is a task instance's, and which end asks for another one. Knows nothing of Airflow's classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Protocol

from lyftlearn.types import FailureReason, JobState, JobStatus

RETRIED = frozenset((FailureReason.PREEMPTED, FailureReason.CAPACITY, FailureReason.PLATFORM))
"""Why a job failed that may succeed when it is run again as it was. All else fails again."""


class TaskInstance(Protocol):
    """What Airflow tells about the task instance that runs."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None
    max_tries: int


def base_key(instance: TaskInstance) -> str:
    """Return what every try of a task instance has in common, as the beginning of its jobs' keys.

    The number of the try is no part of it: a try may be lost with its worker, and the next one must find the job.
    `max_tries` is. It stays the same from try to try, and only when a person clears the task does Airflow move it, by
    the tries that were used. Whoever clears a task asks for a new job.
    """
    index = -1 if instance.map_index is None else instance.map_index
    return json.dumps(["airflow", instance.dag_id, instance.run_id, instance.task_id, index, instance.max_tries])


def keys(base: str) -> Iterator[str]:
    """Yield the keys of a task instance's jobs, in order: the next is for when the job before `needs_another`.

    The first is the base itself, so that a key of the caller's own means the same job as it does in a script.
    """
    yield base
    yield from (f"{base}/{number}" for number in count(2))


def needs_another(state: JobState) -> bool:
    """Whether a try that finds a job in this state starts another.

    The platform failed it, so the same job may succeed. Or it was stopped: its task was killed or timed out in an
    earlier try, and Airflow now tries again. Each try that asks gets the same answer, whatever became of those before,
    because a final state stays: so all of them come to the same job, without Airflow keeping anything.
    """
    return state.status is JobStatus.STOPPED or (state.status is JobStatus.FAILED and state.reason in RETRIED)


def state_document(state: JobState) -> dict[str, Any]:
    """Return a state as XCom takes it: the fields of `JobState`, times by RFC 3339 in UTC."""
    times = {name: getattr(state, name) for name in ("created_at", "started_at", "finished_at")}
    return {
        "status": str(state.status),
        "reason": state.reason and str(state.reason),
        "message": state.message,
        "exit_code": state.exit_code,
        "attempt": state.attempt,
        **{name: at and at.isoformat() for name, at in times.items()},
    }
