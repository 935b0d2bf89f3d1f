"""`advance`, under every order in which the events of a job can arrive."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.events import JobEvent, ObservedState, advance
from lyftlearn.types import FailureReason, JobStatus

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
ALIVE = [status for status in JobStatus if not status.finished]
FINAL = [status for status in JobStatus if status.finished]

moments = st.integers(0, 5).map(lambda seconds: CREATED + timedelta(seconds=seconds))


@st.composite
def events(draw: st.DrawFn, statuses: Iterable[JobStatus] = tuple(JobStatus)) -> JobEvent:
    """Any observation at all, from few values so that ties are common."""
    return JobEvent(
        job_id="eta-tlaaaaaaaaaaa",
        status=draw(st.sampled_from(list(statuses))),
        at=draw(moments),
        incarnation=draw(st.integers(0, 2)),
        attempt=draw(st.integers(1, 3)),
        reason=draw(st.none() | st.sampled_from(FailureReason)),
        message=draw(st.sampled_from(["", "waiting", "boom"])),
        exit_code=draw(st.none() | st.integers(0, 1)),
        created_at=draw(st.none() | moments),
        started_at=draw(st.none() | moments),
    )


@st.composite
def histories(draw: st.DrawFn, *, finished: bool | None = None) -> list[JobEvent]:
    """What one job went through, in order: statuses that rise, and fall only when the infrastructure starts it anew."""
    history: list[JobEvent] = []
    for incarnation in range(draw(st.integers(1, 3))):
        seen = draw(st.lists(events(ALIVE), min_size=1, max_size=4))
        seen.sort(key=lambda event: ALIVE.index(event.status))
        history += [replace(event, incarnation=incarnation) for event in seen]
    if draw(st.booleans()) if finished is None else finished:
        history.append(replace(draw(events(FINAL)), incarnation=history[-1].incarnation))
    ticks = (CREATED + timedelta(seconds=10 + second) for second in range(len(history)))
    attempts = sorted(event.attempt for event in history)
    return [
        replace(event, at=at, attempt=attempt, created_at=CREATED)
        for event, at, attempt in zip(history, ticks, attempts, strict=True)
    ]


def after(observed: Iterable[JobEvent], known: ObservedState | None = None) -> ObservedState:
    progress = reduce(advance, observed, known)
    assert progress is not None
    return progress


@given(histories(), st.data())
def test_order_and_repetition_do_not_matter(history: list[JobEvent], data: st.DataObject) -> None:
    """Watches and queues deliver late, twice and in any order; the state must depend on none of it."""
    again = data.draw(st.lists(st.sampled_from(history), max_size=5))
    shuffled = data.draw(st.permutations([*history, *again]))
    assert after(shuffled) == after(history)


@given(st.lists(events(ALIVE), min_size=1, max_size=6), st.data())
def test_any_observations_of_an_unfinished_job_commute(observed: list[JobEvent], data: st.DataObject) -> None:
    """Two watchers may disagree in any field at one moment; the answer must still not depend on who was heard first."""
    assert after(data.draw(st.permutations(observed))) == after(observed)


@given(st.lists(events(ALIVE), max_size=5), events(FINAL), st.data())
def test_the_end_wins_wherever_it_is_heard(observed: list[JobEvent], end: JobEvent, data: st.DataObject) -> None:
    """A job that ended must not be shown as running because a stale event was heard first, or claims a later start."""
    progress = after(data.draw(st.permutations([*observed, end])))
    assert (progress.state.status, progress.state.finished_at) == (end.status, end.at)
    assert (progress.state.reason, progress.state.exit_code) == (end.reason, end.exit_code)
    assert progress.state.message == end.message


@given(st.lists(events(), max_size=5), events(FINAL), st.lists(events(), max_size=5))
def test_no_final_state_is_left(before: list[JobEvent], end: JobEvent, later: list[JobEvent]) -> None:
    """`wait` has returned by then, and what it returned must stay true."""
    finished = after([*before, end]).state
    state = after(later, after([*before, end])).state
    for name in ("status", "reason", "message", "exit_code", "finished_at"):
        assert getattr(state, name) == getattr(finished, name), name


@given(histories(finished=True), st.data())
def test_one_final_event_is_enough(history: list[JobEvent], data: st.DataObject) -> None:
    """Any other answer may never come, and the job must still be seen to end."""
    some = data.draw(st.lists(st.sampled_from(history), max_size=5))
    assert after([*some, history[-1]]).state.status is history[-1].status


@given(histories())
def test_a_history_heard_in_order_shows_its_newest_event(history: list[JobEvent]) -> None:
    """The common case: a person sees what the substrate said last."""
    for length in range(1, len(history) + 1):
        newest, state = history[length - 1], after(history[:length]).state
        assert (state.status, state.message, state.attempt) == (newest.status, newest.message, newest.attempt)


@given(histories(), st.data())
def test_progress_never_goes_back(history: list[JobEvent], data: st.DataObject) -> None:
    """A progress line that returns from running to pending would tell of a restart that was none."""
    progress: ObservedState | None = None
    for event in data.draw(st.permutations(history)):
        known, progress = progress, advance(progress, event)
        assert known is None or progress.order >= known.order


@given(events())
def test_advance_is_pure(event: JobEvent) -> None:
    """One progress may be shared by many handles and threads."""
    start = after([event])
    assert advance(None, event) == start
    assert after([event], start) == start


@given(events())
def test_what_version_1_0_pickled_is_read(event: JobEvent) -> None:
    """It kept the order of a state, and not the event from which that follows."""
    progress = advance(None, event)
    assert pickle.loads(pickle.dumps(progress)).order == progress.order
    of_version_1_0 = ObservedState.__new__(ObservedState)
    of_version_1_0.__setstate__({"state": progress.state, "order": progress.order})
    assert (of_version_1_0, of_version_1_0.order) == (progress, progress.order)


def test_a_tie_in_time_is_settled_alike() -> None:
    """Substrates whose clocks tick in seconds say two things at once; whoever hears them in either order must agree."""
    image = JobEvent(job_id="a", status=JobStatus.PENDING, at=CREATED, reason=FailureReason.IMAGE)
    capacity = replace(image, reason=FailureReason.CAPACITY)
    assert after([image, capacity]) == after([capacity, image])


def test_only_a_new_incarnation_returns_to_starting() -> None:
    """A lost node is the one true way back, and must be shown; an event that was merely late is not one."""
    running = JobEvent(job_id="a", status=JobStatus.RUNNING, at=CREATED)
    late = replace(running, status=JobStatus.STARTING, at=CREATED + timedelta(seconds=1))
    assert after([running, late]).state.status is JobStatus.RUNNING
    assert after([running, replace(late, incarnation=1)]).state.status is JobStatus.STARTING


def test_times_keep_their_best_value() -> None:
    """The first event heard may be the last one sent; creation and start are still the earliest that anybody saw."""
    end = JobEvent(job_id="a", status=JobStatus.SUCCEEDED, at=CREATED + timedelta(seconds=9), attempt=2)
    begun = CREATED + timedelta(seconds=3)
    state = after([end, replace(end, status=JobStatus.RUNNING, attempt=1, created_at=CREATED, started_at=begun)]).state
    assert (state.created_at, state.started_at, state.finished_at) == (CREATED, begun, end.at)
    assert state.attempt == 2
