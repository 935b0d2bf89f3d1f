"""Every error lyftlearn raises.

::

    LyftLearnError
    ├── InvalidJob (ValueError)                  nothing was sent
    ├── JobNotFound (LookupError)
    ├── Conflict                                 the key is held by another job
    ├── AccessDenied (PermissionError)
    ├── QuotaExceeded
    ├── BackendUnavailable (ConnectionError)     try again, with the same key
    ├── DestinationExists (FileExistsError)      a download would replace something else
    ├── JobFailed
    ├── JobStopped
    └── WaitTimeout (TimeoutError)               the job goes on

Every error pickles with its attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from lyftlearn._annotations import Any
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from lyftlearn.types import JobState

Job: TypeAlias = Any  # a `lyftlearn.Job`; errors stand below handles and only carry them


def _redact(text: str) -> str:
    from lyftlearn._text.redaction import redact  # noqa: PLC0415 - an import of lyftlearn does not pay for it

    return redact(text)


class LyftLearnError(Exception):
    """The base of all errors that lyftlearn raises. By itself it means that a backend is missing or broken.

    No error contains what is known to be secret.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_redact(arg) if isinstance(arg, str) else arg for arg in args))


class InvalidJob(LyftLearnError, ValueError):
    """The call cannot work as it was written. Nothing was sent. `str(error)` lists every fault."""

    faults: list[tuple[str, str]]
    """Pairs of the path of a field, and what is wrong with it and what to do."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = [(_redact(path), _redact(problem)) for path, problem in faults]
        super().__init__(self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return ": ".join(self.faults[0])
        lines = [f"  {path}: {problem}" for path, problem in self.faults]
        return "\n".join([f"{len(self.faults)} faults, nothing was sent", *lines])


class JobNotFound(LyftLearnError, LookupError):
    """No backend in use knows the job."""


class Conflict(LyftLearnError):
    """The key was used before, with other arguments or with other content of the source or of local inputs."""

    job_id: str
    """The job that holds the key."""

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message, job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return str(self.args[0])


class AccessDenied(LyftLearnError, PermissionError):
    """The backend or the storage knows who asks, and refuses. The message names the missing permission."""


class QuotaExceeded(LyftLearnError):
    """The job would exceed a quota. The message names it."""


class BackendUnavailable(LyftLearnError, ConnectionError):
    """A backend or the storage gave no usable answer. Try again, with the same key.

    If `job_id` is set, nobody knows whether the job was accepted.
    """

    job_id: str | None

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message, job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return str(self.args[0])


class DestinationExists(LyftLearnError, FileExistsError):
    """A download found something else at its destination, and changed nothing: `overwrite=True` replaces it."""


class _Ended(LyftLearnError):
    """A job ended otherwise than by success."""

    job: Job
    state: JobState

    def __init__(self, job: Job, state: JobState) -> None:
        super().__init__(job, state)
        self.job = job
        self.state = state

    def __str__(self) -> str:
        """Return the end with the line that tells most, then the job's last words, harmless to a terminal."""
        from lyftlearn._text.display import printable, printable_lines, telling_line  # noqa: PLC0415 - as above

        state, words = self.state, printable_lines(self.state.message)
        exit_code = "" if state.exit_code is None else f"exit code {state.exit_code}"
        facts = ", ".join(filter(None, (state.reason, exit_code)))
        line = printable(telling_line(state.message))
        head = f"{self.job.id} {state.status}{f' ({facts})' if facts else ''}{f': {line}' if line else ''}"
        quoted = [f"  {word}".rstrip() for word in words] if len(list(filter(None, words))) > 1 else []
        return "\n".join([head, *quoted, *self._advice()])

    def _advice(self) -> Sequence[str]:
        return ()


class JobFailed(_Ended):
    """The job failed. `state.reason` says why, in the same words on every backend."""

    def _advice(self) -> Sequence[str]:
        return [f"see all of it: lyftlearn logs {self.job.id}"] if self.state.started_at else []


class JobStopped(_Ended):
    """The job ended because someone asked it to stop."""


class WaitTimeout(LyftLearnError, TimeoutError):
    """Waiting ended before the jobs did. The jobs go on."""

    jobs: list[Job]
    """The jobs that have not finished."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        super().__init__(self.jobs)

    def __str__(self) -> str:
        waiting = ", ".join(f"{job.id} is {job.state.status}" for job in self.jobs)
        return f"not finished in time, and going on: {waiting}"


DEFINITE_REFUSALS = (AccessDenied, InvalidJob, QuotaExceeded)
"""As the first answer to a create, these alone prove that the job was not accepted, so that it may run elsewhere.

After a request without an answer nothing proves it any more: whatever settles the doubt fails with is
BackendUnavailable with the job's id. Conflict is no refusal: a job has the id.
"""
