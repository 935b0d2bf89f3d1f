"""Plain values of the public API: what is asked for, and what was observed.

Times are timezone-aware UTC ``datetime``s. Durations are ``timedelta`` or strings such as ``"90s"``, ``"4h"`` or
``"2d"``. Memory and disk are Kubernetes quantities (``"512Mi"``, ``"64Gi"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
Duration: TypeAlias = str | timedelta


class JobKind(StrEnum):
    """What a job is for."""

    TRAIN = "train"
    PROCESS = "process"
    PREDICT = "predict"
    TUNE = "tune"
    NOTEBOOK = "notebook"


class JobStatus(StrEnum):
    """One vocabulary on every substrate. `finished` is true of the last three.

    PENDING: accepted, waiting for capacity. STARTING: capacity found; image, inputs, containers. RUNNING: the container
    runs; last preparations, the user's command, keeping its outputs. FAILED: a timeout is one too (reason TIMEOUT),
    never "stopped". STOPPED: someone asked for it.
    """

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def finished(self) -> bool:
        """Whether no other status can follow."""
        return self in _FINISHED


_FINISHED = frozenset((JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED))


class FailureReason(StrEnum):
    """Why a job failed, in one vocabulary on every substrate.

    USER_ERROR: the command exited non-zero. PREEMPTED: node lost, spot reclaimed. CAPACITY: nothing to run on within
    the pending limit. IMAGE: cannot be pulled or started. CONFIGURATION: missing secret, role, input or permission.
    PLATFORM: the substrate's own fault.
    """

    USER_ERROR = "user-error"
    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    CAPACITY = "capacity"
    IMAGE = "image"
    CONFIGURATION = "configuration"
    PLATFORM = "platform"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one node of the job needs. Any combination may be asked for; the substrate must give at least that.

    cpu: cores. memory, disk, shared_memory (`/dev/shm`): Kubernetes quantities. gpu_type: such as "A10G" or "H100".
    """

    cpu: float = 1
    memory: str = "2Gi"
    gpu: int = 0
    gpu_type: str | None = None
    disk: str = "30Gi"
    shared_memory: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What was last observed of a job.

    message: one line for a person; on failure the last words of the user's code. exit_code: of the user's command where
    it ended by itself; of the first node to fail. attempt: 1 on the first run of the command; retries count,
    infrastructure restarts do not.
    """

    status: JobStatus
    reason: FailureReason | None
    message: str
    exit_code: int | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """A real number from `low` to `high`, both included; evenly spread in its logarithm if `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class IntUniform:
    """A whole number from `low` to `high`, both included; evenly spread in its logarithm if `log`."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of `values`."""

    values: Sequence[JSON]


@dataclass(frozen=True, kw_only=True)
class Objective:
    r"""What a tuning job optimises.

    pattern: has one group that captures the number in a line of output, e.g. ``r"rmse=([0-9.]+)"``.
    """

    name: str
    goal: Literal["minimize", "maximize"]
    pattern: str
