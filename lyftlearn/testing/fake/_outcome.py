"""What becomes of a job, as the test of its caller writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn.runtime.report import last_words
from lyftlearn.types import FailureReason, JobStatus


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What becomes of a job.

    status: how it ends. One that is not final, such as "running", stays until the job is stopped or `Fake.end` ends it.
    reason, exit_code, message: of a job that failed; by default "user-error", 1 and the end of `logs`. states: what is
    seen before the end, one with each look, such as ("pending", "running"). attempt: how often the command ran. logs:
    what it printed.
    outputs: of a job that succeeds, by output the files and what they hold. error: what the call raises instead;
    nothing is submitted then. Raises InvalidJob, which lists every fault.
    """

    status: JobStatus | str = JobStatus.SUCCEEDED
    reason: FailureReason | str | None = None
    exit_code: int | None = None
    message: str = ""
    states: Sequence[JobStatus | str] = ()
    attempt: int = 1
    logs: Sequence[str] = ()
    outputs: Mapping[str, Mapping[str, str | bytes]] = field(default_factory=dict)
    error: LyftLearnError | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the rest."""
        faults: list[tuple[str, str]] = []
        status = _word("status", self.status, JobStatus, faults)
        states = tuple(_word("states", state, JobStatus, faults) for state in self.states)
        failed = status is JobStatus.FAILED
        reason = _word("reason", self.reason, FailureReason, faults) if self.reason else None
        faults += _contradictions(self, status)
        if faults:
            raise InvalidJob(faults)
        settled: dict[str, Any] = {"status": status, "states": states}
        settled["reason"] = (reason or FailureReason.USER_ERROR) if failed else None
        settled["message"] = self.message or (last_words("\n".join(self.logs)) if failed else "")
        if self.exit_code is None:
            user_error = settled["reason"] is FailureReason.USER_ERROR
            settled["exit_code"] = 0 if status is JobStatus.SUCCEEDED else 1 if user_error else None
        for name, value in settled.items():
            object.__setattr__(self, name, value)  # it is frozen for everybody else


def _word(path: str, value: object, words: Any, faults: list[tuple[str, str]]) -> Any:
    try:
        return words(value)
    except ValueError:
        faults.append((path, f"is {value!r}: write one of {', '.join(words)}"))
        return value


def _contradictions(outcome: Outcome, status: object) -> list[tuple[str, str]]:
    faults = []
    if outcome.reason and status is not JobStatus.FAILED:
        faults.append(("reason", f"is {outcome.reason!r}, but status is {status}: only a job that failed has a reason"))
    if outcome.outputs and status is not JobStatus.SUCCEEDED:
        faults.append(("outputs", f"are given, but status is {status}: only a job that succeeds leaves outputs"))
    if isinstance(outcome.logs, str):
        faults.append(("logs", "is one text: write a list of lines"))
    return faults
