"""Exit codes: each way in which a command ends has its own."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from lyftlearn.errors import (
    AccessDenied,
    BackendUnavailable,
    Conflict,
    DestinationExists,
    InvalidJob,
    JobFailed,
    JobNotFound,
    JobStopped,
    LyftLearnError,
    QuotaExceeded,
    WaitTimeout,
)


class ExitCode(IntEnum):
    """The exit code of the process."""

    meaning: str

    DONE = 0, "the command did what it was asked to do"
    JOB_FAILED = 1, "the job failed"
    USAGE = 2, "the command line, the job or the configuration is wrong; nothing was sent"
    JOB_STOPPED = 3, "the job was stopped"
    NOT_FOUND = 4, "the job does not exist"
    CONFLICT = 5, "another job holds the key"
    ACCESS_DENIED = 6, "the backend or the storage denied access"
    QUOTA = 7, "the job would exceed a quota"
    UNAVAILABLE = 8, "the backend or the storage is unavailable; try again, with the same key"
    WAIT_TIMEOUT = 9, "the time to wait passed before the job ended; the job goes on"
    BACKEND = 10, "a backend is missing or broken, or a check of doctor failed"
    FILES = 11, "a file on this machine cannot be read or written"
    WORSE = 12, "jobs do significantly worse on the new side of a migration"
    DIFFERENT = 13, "something would differ between backends that should not"
    DESTINATION = 14, "the destination of a download holds something else, and was not changed"
    INTERNAL = 70, "lyftlearn itself has a fault, and shows its traceback"
    INTERRUPTED = 130, "Ctrl-C was pressed; jobs go on, except for those of a comparison, which are stopped"
    PIPE_CLOSED = 141, "the program that read the output ended, such as head"

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a code with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


_BY_ERROR: dict[type[BaseException], ExitCode] = {
    InvalidJob: ExitCode.USAGE,
    JobNotFound: ExitCode.NOT_FOUND,
    Conflict: ExitCode.CONFLICT,
    AccessDenied: ExitCode.ACCESS_DENIED,
    QuotaExceeded: ExitCode.QUOTA,
    BackendUnavailable: ExitCode.UNAVAILABLE,
    JobFailed: ExitCode.JOB_FAILED,
    JobStopped: ExitCode.JOB_STOPPED,
    WaitTimeout: ExitCode.WAIT_TIMEOUT,
    DestinationExists: ExitCode.DESTINATION,
    LyftLearnError: ExitCode.BACKEND,
    BrokenPipeError: ExitCode.PIPE_CLOSED,
    OSError: ExitCode.FILES,
    KeyboardInterrupt: ExitCode.INTERRUPTED,
}


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of the nearest class of `error` that has one."""
    return next((_BY_ERROR[cls] for cls in type(error).__mro__ if cls in _BY_ERROR), ExitCode.INTERNAL)
