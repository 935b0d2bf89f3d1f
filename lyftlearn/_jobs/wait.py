"""Waiting for jobs: one queue, filled by the watchers, emptied by the thread that waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import TypeAlias

from lyftlearn import _telemetry
from lyftlearn._contract.fault import Fault
from lyftlearn._jobs import arguments
from lyftlearn._jobs.interruption import advising
from lyftlearn._jobs.job import Job
from lyftlearn._jobs.progress import live_display, should_display
from lyftlearn.errors import JobFailed, JobStopped, LyftLearnError, WaitTimeout
from lyftlearn.events import JobEvent
from lyftlearn.types import Duration, JobState, JobStatus

_Update: TypeAlias = tuple[int, LyftLearnError | None]
_TICK = 1.0  # seconds after which what is displayed is drawn again: durations grow while nothing changes
_OnUpdate: TypeAlias = "Callable[[Job, JobState], None]"


class _Listener:
    """Puts into the queue of one wait what it hears of one job. With slots, ten thousand of them take little memory."""

    __slots__ = ("_index", "_job", "_updates", "_watch")

    def __init__(self, job: Job, index: int, updates: SimpleQueue[_Update]) -> None:
        self._job, self._index, self._updates = job, index, updates
        self._watch = job._shared_watch()  # noqa: SLF001 - a friend of the handle

    def __call__(self, news: JobEvent | LyftLearnError) -> None:
        self._updates.put((self._index, self._job._hear(news)))  # noqa: SLF001 - as above

    def join(self) -> None:
        self._watch.join(self._job.id, self)

    def leave(self) -> None:
        self._watch.leave(self._job.id, self)


def wait(
    jobs: Iterable[Job],
    timeout: Duration | None = None,
    *,
    check: bool = True,
    on_update: _OnUpdate | None = None,
    progress: bool | None = None,
) -> list[JobState]:
    """Wait for all; then `check` raises for the first, in the order given, that did not succeed."""
    faults: list[Fault] = []
    jobs = arguments.items("jobs", jobs, Job, faults)
    seconds = arguments.seconds("timeout", timeout, faults)
    arguments.switch("check", check, faults)
    arguments.callback("on_update", on_update, faults)
    arguments.switch_or_none("progress", progress, faults)
    arguments.refuse(faults)
    deadline = None if seconds is None else time.monotonic() + seconds
    for job in jobs:
        # Known from its claim alone: raises JobNotFound instead of waiting for ever.
        if not job._kept and not job.state.status.finished:  # noqa: SLF001
            job.refresh()
    with ExitStack() as stack:
        stack.enter_context(advising([job.id for job in jobs], "wait"))
        draw = stack.enter_context(live_display(jobs)) if should_display(progress) else None
        updates = stack.enter_context(_listening(jobs))
        for job, is_changed in _changes(jobs, updates, deadline, tick=_TICK if draw else None):
            for callback in (draw, on_update if is_changed else None):
                if callback is not None:
                    callback(job, job.state)
    _trace_phases(jobs)
    if check:
        _raise_for_first(jobs)
    return [job.state for job in jobs]


def _trace_phases(jobs: Sequence[Job]) -> None:
    """Trace where the time of jobs went that this process submitted, if somebody traces it."""
    for job in jobs:
        if _telemetry.awaits(job.id):
            timings = job._final_timings()  # noqa: SLF001 - a friend of the handle
            phases = [(p.name, p.started_at, p.finished_at) for p in timings.phases if p.finished_at] if timings else []
            _telemetry.trace_job(job.id, phases, status=str(job.state.status))


@contextmanager
def _listening(jobs: Sequence[Job]) -> Iterator[SimpleQueue[_Update]]:
    updates: SimpleQueue[_Update] = SimpleQueue()
    listeners: list[_Listener] = []
    try:
        for index, job in enumerate(jobs):
            if not job.state.status.finished:
                listener = _Listener(job, index, updates)
                listener.join()
                listeners.append(listener)
        yield updates
    finally:
        for one in listeners:
            one.leave()


def _changes(
    jobs: Sequence[Job], updates: SimpleQueue[_Update], deadline: float | None, tick: float | None
) -> Iterator[tuple[Job, bool]]:
    """Yield each job as often as its state changed, until all have finished; one that has not after each `tick`."""
    told = [job.state for job in jobs]
    waiting = len(_jobs_left(jobs, told))
    yield from ((job, True) for job in jobs)
    while waiting:
        try:
            index, error = updates.get(timeout=_next_look(deadline, tick))
        except Empty:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(_jobs_left(jobs, told)) from None
            yield _jobs_left(jobs, told)[0], False
            continue
        if error is not None:
            raise error
        before, told[index] = told[index], jobs[index].state
        waiting -= told[index].status.finished and not before.status.finished
        if told[index] != before:
            yield jobs[index], True


def _jobs_left(jobs: Sequence[Job], told: Sequence[JobState]) -> list[Job]:
    return [job for job, state in zip(jobs, told, strict=True) if not state.status.finished]


def _next_look(deadline: float | None, tick: float | None) -> float | None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    return min((seconds for seconds in (left, tick) if seconds is not None), default=None)


def _raise_for_first(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.state.status is JobStatus.FAILED:
            raise JobFailed(job, job.state)
        if job.state.status is JobStatus.STOPPED:
            raise JobStopped(job, job.state)
