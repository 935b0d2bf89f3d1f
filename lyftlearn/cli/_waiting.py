"""Waiting for jobs at a terminal: Ctrl-C leaves them running, and their end is the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyftlearn._jobs import views
from lyftlearn._jobs.progress import should_display
from lyftlearn.cli import _output
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import JobFailed, JobStopped
from lyftlearn.types import JobState, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job


class Detached(KeyboardInterrupt):
    """Ctrl-C while jobs go on. The message says how to attach again."""


@contextmanager
def detachable(jobs: Sequence[Job], command: str = "wait") -> Iterator[None]:
    """Turn Ctrl-C into the advice how to come back: `command` is what to type then."""
    try:
        yield
    except KeyboardInterrupt as exc:
        ids = " ".join(job.id for job in jobs)
        go_on = "the job goes on" if len(jobs) == 1 else "the jobs go on"
        raise Detached(f"{go_on}; attach again with: lyftlearn {command} {ids}") from exc


@contextmanager
def submitting(name: str) -> Iterator[None]:
    """Turn Ctrl-C before the id is known into the advice how to find out."""
    try:
        yield
    except KeyboardInterrupt as exc:
        advice = f"interrupted before the answer came; see whether the job was accepted: lyftlearn jobs --name {name}"
        raise Detached(advice) from exc


def report_ends(jobs: Sequence[Job], states: Sequence[JobState], *, drawn: bool) -> ExitCode:
    """Say how each job ended, unless a progress line did. Raises for the first that did not succeed."""
    for job, state in zip(jobs, states, strict=True):
        if not drawn and state.status is JobStatus.SUCCEEDED:
            _output.note(f"{job.id} succeeded after {views.duration_text(state)}")
    for job, state in zip(jobs, states, strict=True):
        if state.status is JobStatus.FAILED:
            raise JobFailed(job, state)
        if state.status is JobStatus.STOPPED:
            raise JobStopped(job, state)
    return ExitCode.DONE


def draws_progress(progress: bool | None) -> bool:
    """Whether a wait draws its progress."""
    return should_display(progress)
