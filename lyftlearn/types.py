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

from lyftlearn import _json

JSON: TypeAlias = _json.JSON
Duration: TypeAlias = str | timedelta


class JobKind(StrEnum):
    """What a job is for."""

    TRAIN = "train"
    PROCESS = "process"
    PREDICT = "predict"
    TUNE = "tune"
    NOTEBOOK = "notebook"


class JobStatus(StrEnum):
    """The status of a job, in the same words on every backend. `finished` is true of the last three.

    PENDING: the job was accepted and waits for capacity. STARTING: capacity was found; image, inputs and containers are
    prepared. RUNNING: the container runs, which includes last preparations and keeping the outputs. STOPPING: someone
    asked the job to stop. FAILED: the job failed, which a timeout is, too (reason TIMEOUT). STOPPED: the job ended
    because someone asked for it.
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
    """Why a job failed, in the same words on every backend.

    USER_ERROR: the command ended with a code other than 0. OUT_OF_MEMORY: the command used more memory than the job
    asked for. TIMEOUT: the timeout passed. PREEMPTED: the node was lost, or a spot instance was reclaimed. CAPACITY: no
    machine was free within the pending limit. IMAGE: the image cannot be pulled or started. CONFIGURATION: a secret, a
    role, an input or a permission is missing. PLATFORM: the platform itself failed.
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
    """What one node of the job needs. Any combination may be asked for, and the backend gives at least that.

    cpu: cores. memory, disk, shared_memory (`/dev/shm`): Kubernetes quantities such as "64Gi". gpu: the number of GPUs.
    gpu_type: a name such as "A10G" or "H100".
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

    reason: why the job failed, None if it did not. message: one line for a person; of a failed job, the last words of
    its command. exit_code: the exit code of the command if it ended by itself; with several nodes, of the first that
    failed. attempt: 1 on the first run of the command, one more with each retry. Restarts by the platform do not count.
    started_at: when its first container began, also if the platform started it anew later; None before.
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
    """A real number from `low` to `high`, both included. With `log`, its logarithm is spread evenly."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class IntUniform:
    """A whole number from `low` to `high`, both included. With `log`, its logarithm is spread evenly."""

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
