"""Waiting: many handles on one watch, events in any order, connections that break, and times that pass."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

import pytest

import lyftlearn
from lyftlearn._jobs import wait as waiting
from lyftlearn._jobs.job import Job
from lyftlearn._jobs.listing import JobListing
from lyftlearn._jobs.wait import wait
from lyftlearn._jobs.watcher import SharedWatch
from lyftlearn.backend import (
    Backend,
    Capabilities,
    JobQuery,
    JobRecord,
    JobSpec,
    LogLine,
    LogQuery,
    Plan,
    WatchSet,
)
from lyftlearn.errors import AccessDenied, BackendUnavailable, JobNotFound, LyftLearnError, WaitTimeout
from lyftlearn.events import JobEvent
from lyftlearn.types import JobKind, JobState, JobStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Scripted(Backend):
    """A backend whose watch says what a test tells it to."""

    name = "scripted"

    def __init__(self) -> None:
        self.script: SimpleQueue[JobEvent | Exception | None] = SimpleQueue()
        self.watches = 0
        self.described = 0

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        self.watches += 1
        while not following.closed:
            try:
                said = self.script.get(timeout=0.01)
            except Empty:
                continue
            if said is None:
                return
            if isinstance(said, Exception):
                raise said
            while said.job_id not in following.ids and not following.closed:
                following.wait_for_change(0.1)
            yield said

    def describe(self, job_id: str) -> JobRecord:
        self.described += 1
        raise JobNotFound(f"{job_id} is gone")

    def capabilities(self) -> Capabilities:
        return Capabilities(offers=frozenset())

    def plan(self, spec: JobSpec) -> Plan:
        return Plan(spec=spec, backend=self.name, requests=())

    def submit(self, plan: Plan) -> JobRecord:
        return record(plan.spec.id)

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return iter(())

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return iter(())

    def stop(self, job_id: str) -> None:
        return None

    def outputs(self, job_id: str) -> Mapping[str, str]:
        return {}


def event(job_id: str, status: JobStatus, message: str = "") -> JobEvent:
    return JobEvent(job_id=job_id, status=status, at=NOW, message=message)


def record(job_id: str) -> JobRecord:
    pending = event(job_id, JobStatus.PENDING)
    return JobRecord(id=job_id, kind=JobKind.TRAIN, name="eta", labels={}, digest="", decision="", event=pending)


@pytest.fixture
def backend() -> Scripted:
    return Scripted()


@pytest.fixture
def watch(backend: Scripted) -> Iterator[SharedWatch]:
    made = SharedWatch(backend)
    yield made
    made.close()


def handle(watch: SharedWatch, job_id: str, *, kept: bool = True) -> Job:
    return Job(lambda _: watch, record(job_id), kept=kept)


def test_handles_share_what_is_alike(watch: SharedWatch) -> None:
    """A process follows ten thousand jobs; most differ in their ids, and in where these stand in URIs, alone."""
    uri = "s3://models/{0}/output/model.tar.gz"
    records = [replace(record(f"job-{n}"), outputs={"model": uri.format(f"job-{n}")}) for n in range(2)]
    one, other = (Job(lambda _: watch, each) for each in records)
    assert one.outputs == {"model": uri.format("job-0")}
    assert other.outputs == {"model": uri.format("job-1")}
    assert [one._record, other._record] == records
    assert one._settled is other._settled


def test_one_watch_serves_all_handles(backend: Scripted, watch: SharedWatch) -> None:
    """A thousand handles must not cost a thousand connections."""
    jobs = [handle(watch, f"job-{number}") for number in range(100)]
    for job in jobs:
        backend.script.put(event(job.id, JobStatus.SUCCEEDED))
    assert {state.status for state in wait(jobs, "60s", progress=False)} == {JobStatus.SUCCEEDED}
    assert (backend.watches, backend.described) == (1, 0)


def test_two_handles_on_one_job_both_finish(backend: Scripted, watch: SharedWatch) -> None:
    """Two parts of a program may wait for one job without knowing of each other."""
    one, other = handle(watch, "job-a"), handle(watch, "job-a")
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    assert len(wait([one, other, one], "60s", progress=False)) == 3
    assert one == other


def test_a_watch_that_breaks_is_taken_up_again(backend: Scripted, watch: SharedWatch) -> None:
    """A dropped watch, a stream's end, and a plugin's own mistake are none of them the job's end."""
    job = handle(watch, "job-a")
    for trouble in (BackendUnavailable("away"), None, ValueError("a bug")):
        backend.script.put(trouble)
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    assert wait([job], "60s", progress=False)[0].status == "succeeded"
    assert backend.watches == 4


def test_what_no_patience_mends_is_raised(
    backend: Scripted, watch: SharedWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a permission that nobody will give is waiting for ever."""
    monkeypatch.setattr("lyftlearn._jobs.watcher._SECONDS_UNTIL_FINAL", 0.1)
    for _ in range(9):
        backend.script.put(AccessDenied("may not watch"))
    with pytest.raises(AccessDenied, match="may not watch"):
        wait([handle(watch, "job-a")], "60s", progress=False)


def test_updates_are_given_once_and_in_order(backend: Scripted, watch: SharedWatch) -> None:
    """`on_update` sees each change once, however often and in whatever order the substrate said it."""
    job = handle(watch, "job-a")
    for status in (JobStatus.RUNNING, JobStatus.STARTING, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.RUNNING):
        backend.script.put(event("job-a", status))
    seen: list[str] = []
    wait([job], "60s", on_update=lambda _, state: seen.append(state.status), progress=False)
    assert sorted(set(seen), key=seen.index) == seen
    assert seen[-1] == "succeeded"


def test_time_runs_out_for_those_that_go_on(backend: Scripted, watch: SharedWatch) -> None:
    """WaitTimeout names the unfinished ones only, in the order given."""
    jobs = [handle(watch, f"job-{letter}") for letter in "abc"]
    backend.script.put(event("job-b", JobStatus.SUCCEEDED))
    with pytest.raises(lyftlearn.WaitTimeout) as caught:
        wait(jobs, "1s", progress=False)
    assert caught.value.jobs == [jobs[0], jobs[2]]


def test_check_raises_for_the_first_in_order(backend: Scripted, watch: SharedWatch) -> None:
    """All are waited for; then the error is the same whichever ended first."""
    jobs = [handle(watch, f"job-{letter}") for letter in "abc"]
    backend.script.put(event("job-c", JobStatus.FAILED, "c broke"))
    backend.script.put(event("job-b", JobStatus.STOPPED))
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    with pytest.raises(lyftlearn.JobStopped) as caught:
        wait(jobs, "60s", progress=False)
    assert caught.value.job == jobs[1]
    states = wait(jobs, check=False, progress=False)
    assert [state.status for state in states] == ["succeeded", "stopped", "failed"]


def test_a_job_known_from_its_claim_alone_is_never_waited_for(watch: SharedWatch) -> None:
    """Its backend has forgotten it: an answer now is worth more than a wait without end."""
    with pytest.raises(JobNotFound):
        wait([handle(watch, "job-a", kept=False)], progress=False)


class Polled(Scripted):
    """A backend that inherits its watch, and keeps what a test puts into `jobs`."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, JobRecord] = {}

    watch = Backend.watch

    def describe(self, job_id: str) -> JobRecord:
        if job_id not in self.jobs:
            raise JobNotFound(f"{job_id} is gone")
        return self.jobs[job_id]


def test_a_refusal_that_may_pass_says_so(watch: SharedWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks once cannot tell a grant that is on its way from one that nobody gave: the error tells of both."""

    def refuse(_: str) -> JobRecord:
        raise AccessDenied("reading jobs is not allowed")

    monkeypatch.setattr(watch.backend, "describe", refuse)
    with pytest.raises(AccessDenied, match=r"^reading jobs is not allowed\. What was granted just now"):
        handle(watch, "job-a").refresh()


def test_a_job_that_is_removed_ends_its_wait() -> None:
    """A job that somebody deleted while it is waited for must not be waited for without end."""
    backend = Polled()
    watch = SharedWatch(backend)
    backend.jobs["job-a"] = record("job-a")

    def remove(_: Job, state: JobState) -> None:
        backend.jobs.clear()

    with pytest.raises(JobNotFound, match="job-a is gone"):
        wait([handle(watch, "job-a")], "60s", on_update=remove, progress=False)
    watch.close()


def test_a_job_that_was_gone_and_is_there_again_is_waited_for() -> None:
    """Its id may be submitted again; what was heard of the one before it is no news."""
    backend = Polled()
    watch = SharedWatch(backend)
    with pytest.raises(JobNotFound):
        wait([handle(watch, "job-a")], "60s", progress=False)
    done = event("job-a", JobStatus.SUCCEEDED)
    backend.jobs["job-a"] = replace(record("job-a"), event=done)
    assert wait([handle(watch, "job-a")], "60s", progress=False)[0].status is JobStatus.SUCCEEDED
    watch.close()


def test_listeners_leave_nothing_behind(backend: Scripted, watch: SharedWatch) -> None:
    """A process that waits for jobs all day must not grow."""
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    wait([handle(watch, "job-a")], "60s", progress=False)
    assert not any(followed.listeners for followed in watch._subscriptions.values())
    assert watch._following.ids == frozenset()


def test_what_was_heard_is_bounded(watch: SharedWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for jobs all year must not grow with every one of them."""
    monkeypatch.setattr("lyftlearn._jobs.watcher._MOST_REMEMBERED", 10)
    for number in range(100):
        watch.listen(f"job-{number}", lambda _: None)()
    assert len(watch._subscriptions) <= 10


def test_closing_ends_the_watch(backend: Scripted) -> None:
    """A client that is gone leaves no thread."""
    watch = SharedWatch(backend)
    watch.listen("job-a", lambda _: None)
    thread = watch._thread
    assert thread is not None
    watch.close()
    thread.join(timeout=600)
    assert not thread.is_alive()


def test_following_wakes_whoever_waits() -> None:
    """A watch that polls slowly must take up a new job at once."""
    following = WatchSet()
    woken: list[bool] = []
    waiter = threading.Thread(target=lambda: woken.append(following.wait_for_change(60)))
    waiter.start()
    deadline = time.monotonic() + 60
    while not woken and time.monotonic() < deadline:
        following.add(f"job-{len(following.ids)}")
        waiter.join(0.01)
    assert woken == [True]
    following.close()
    assert following.wait_for_change(60)


def test_a_change_before_the_wait_is_no_secret() -> None:
    """A job that is followed while the watch looks at the others must not wait until the watch looks again."""
    following = WatchSet()
    following.add("job-a")
    seen = following.ids
    assert not following.wait_for_change(0, seen)
    following.add("job-b")
    assert not following.wait_for_change(0)
    assert following.wait_for_change(60, seen)


def test_status_is_paced(watch: SharedWatch) -> None:
    """A bare loop on `status` asks at most once a second."""
    job = handle(watch, "job-a")
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(LyftLearnError):
            _ = job.status
    assert time.monotonic() - started >= 1


def test_a_refusal_that_passes_is_nobodys_error(backend: Scripted, watch: SharedWatch) -> None:
    """A server that restarts refuses for a while what it had granted; what is wrong with one job is not with all."""
    backend.script.put(AccessDenied("the informers have not synced"))
    backend.script.put(LyftLearnError("job-b cannot be patched: it is gone"))
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    (state,) = wait([handle(watch, "job-a")], "60s", progress=False)
    assert state.status == "succeeded"


def test_a_process_without_threads_says_so(
    backend: Scripted, watch: SharedWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of threads is a clear word, and no job is lost for it."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(BackendUnavailable, match="the jobs go on"):
            wait([handle(watch, "job-a")], "60s", progress=False)
    backend.script.put(event("job-a", JobStatus.SUCCEEDED))
    assert wait([handle(watch, "job-a")], "60s", progress=False)[0].status == "succeeded"


def test_what_is_displayed_is_drawn_while_nothing_changes(
    backend: Scripted, watch: SharedWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook has no clock of its own: a duration that stands still looks like a job that hangs."""
    drawn: list[str] = []
    told: list[JobStatus] = []

    @contextmanager
    def display(jobs: Sequence[Job]) -> Iterator[Callable[[Job, JobState], None]]:
        def draw(job: Job, state: JobState) -> None:
            drawn.append(job.id)
            if len(drawn) == 4:
                backend.script.put(event(job.id, JobStatus.SUCCEEDED))

        yield draw

    monkeypatch.setattr(waiting, "live_display", display)
    monkeypatch.setattr(waiting, "_TICK", 0.01)
    wait([handle(watch, "job-1")], "60s", progress=True, on_update=lambda _, state: told.append(state.status))
    assert len(drawn) >= 4
    assert told == [JobStatus.PENDING, JobStatus.SUCCEEDED]


def test_a_tick_does_not_lengthen_a_timeout(watch: SharedWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits a tenth of a second waits no second."""
    monkeypatch.setattr(waiting, "_TICK", 3600.0)
    with pytest.raises(WaitTimeout):
        wait([handle(watch, "job-1")], "0.1s", progress=True)


def test_a_listing_is_a_table_and_loses_nothing_by_being_looked_at(watch: SharedWatch) -> None:
    """In a notebook the last expression of a cell is shown; the loop in the next cell must still see every job."""
    listing = JobListing(handle(watch, f"job-{number}") for number in range(3))
    assert next(listing).id == "job-0"
    for _ in range(2):
        assert listing._repr_html_().count("<tr>") == 3
    assert [job.id for job in listing] == ["job-1", "job-2"]
    assert "no jobs" in listing._repr_html_()


def test_a_thousand_waited_for_are_small(watch: SharedWatch) -> None:
    """A process may wait for ten thousand jobs: what it keeps of each beside its handle must be small."""
    jobs = [handle(watch, f"job-{number}") for number in range(1000)]
    with pytest.raises(WaitTimeout):
        wait(jobs[:1], "1s", progress=False)  # what is made once
    sizes: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(WaitTimeout):
            wait(jobs, "1s", progress=False, on_update=lambda *_: sizes.append(tracemalloc.get_traced_memory()[0]))
    finally:
        tracemalloc.stop()
    assert sizes[-1] < 400 * len(jobs)
