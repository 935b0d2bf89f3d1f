"""States: how a job ended, why, and how that is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import reduce

import pytest

from lyftlearn._contract.ids import default_letter, new_id
from lyftlearn.backend import Backend, Capability, PhaseName, WatchSet
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent, ObservedState, advance
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness, Watcher, within
from lyftlearn.types import FailureReason, JobKind, JobState, JobStatus

ODD_EXIT_CODES = (1, 2, 37, 126, 127, 128, 130, 137, 143, 255)
_CLOCKS = timedelta(seconds=2)  # platforms count whole seconds, each by its own clock
SIGNALS = {"SIGKILL": 137, "SIGSEGV": 139, "SIGTERM": 143}


class StateConformance(Fixtures):
    """One vocabulary on every substrate."""

    def test_success(self, harness: Harness) -> None:
        """The ordinary end, with nothing left over from failures."""
        state = harness.run(harness.spec())
        assert (state.status, state.reason, state.exit_code) == (JobStatus.SUCCEEDED, None, 0)
        assert state.attempt == 1

    def test_where_the_time_went(self, harness: Harness) -> None:
        """Whoever waits for a job wants to know for what; the phases follow each other, and none is told twice."""
        spec = harness.succeed(harness.spec("import time; time.sleep(1.5)"))
        event, phases = harness.backend.describe(spec.id).event, harness.backend.timings(spec.id).phases
        assert phases[0].started_at == event.created_at
        assert phases[-1].finished_at is not None
        assert phases[-1].finished_at <= event.at + _CLOCKS
        assert [phase.finished_at for phase in phases[:-1]] == [phase.started_at for phase in phases[1:]]
        assert len({phase.name for phase in phases}) == len(phases)
        running = next(phase for phase in phases if phase.name is PhaseName.RUNNING)
        assert running.finished_at is not None
        assert running.finished_at - running.started_at >= timedelta(seconds=1)

    def test_every_exit_code_is_the_commands_own(self, harness: Harness) -> None:
        """Schedulers branch on exit codes; one that becomes 1, or is read as a stop, misleads them."""
        specs = [harness.spec(f"raise SystemExit({code})") for code in ODD_EXIT_CODES]
        states = harness.run_all(specs)
        seen = [(state.status, state.reason, state.exit_code) for state in states]
        assert seen == [(JobStatus.FAILED, FailureReason.USER_ERROR, code) for code in ODD_EXIT_CODES]

    def test_death_by_signal_is_128_and_its_number(self, harness: Harness) -> None:
        """What a shell and a container say of a process that was killed, so that nobody has to learn another rule."""
        specs = [harness.spec(f"import os, signal; os.kill(os.getpid(), signal.{name})") for name in SIGNALS]
        states = harness.run_all(specs)
        seen = {name: (state.status, state.exit_code) for name, state in zip(SIGNALS, states, strict=True)}
        assert seen == {name: (JobStatus.FAILED, code) for name, code in SIGNALS.items()}

    def test_the_message_has_the_last_words(self, harness: Harness) -> None:
        """Most failures are understood from the last line of a traceback, without opening a log."""
        code = """
            for number in range(500):
                print("epoch", number)
            raise ValueError("the loss is gone: café")
        """
        state = harness.run(harness.spec(code))
        assert "ValueError: the loss is gone: café" in state.message

    def test_a_command_that_is_not_there_fails(self, harness: Harness) -> None:
        """A typing error must end as a failure that names the command, not as a job that waits for ever."""
        state = harness.run(harness.spec(command=("no-such-command-9f2c", "--fast")))
        assert state.status is JobStatus.FAILED
        assert "no-such-command-9f2c" in state.message

    def test_a_job_ends_with_its_command(self, harness: Harness) -> None:
        """A child that was left behind and holds the output open must neither keep the job alive nor outlive it."""
        code = """
            import subprocess
            subprocess.Popen(["sleep", "3600"])
            print("done")
        """
        assert harness.output_lines(harness.spec(code)) == ["done"]

    def test_running_out_of_memory_is_told(self, harness: Harness) -> None:
        """Asking for more memory is the remedy, and trying again is none."""
        harness.need(Capability.MEMORY_LIMIT)
        state = harness.run(harness.spec("x = b'x' * (4 << 30); print('still here')", retries=3))
        assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.OUT_OF_MEMORY)
        assert state.attempt == 1, "a command that ran out of memory is not run again"


class TimeoutConformance(Fixtures):
    """`timeout`: a failure with a reason of its own."""

    def test_a_timeout_is_a_failure(self, harness: Harness) -> None:
        """Read as a stop or a success, a job that was cut short would be trusted."""
        _is_timeout(harness.run(harness.spec("import time; time.sleep(600)", timeout=timedelta(seconds=2))))

    def test_exiting_well_on_its_signal_does_not_hide_it(self, harness: Harness) -> None:
        """Programs that clean up on SIGTERM and exit 0 are common, and did not finish their work."""
        code = """
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            time.sleep(600)
        """
        _is_timeout(harness.run(harness.spec(code, timeout=timedelta(seconds=3))))

    def test_it_counts_all_attempts_together(self, harness: Harness) -> None:
        """Retries must not multiply what a job may cost."""
        state = harness.run(
            harness.spec("import time; time.sleep(1); raise SystemExit(1)", timeout=timedelta(seconds=4), retries=1000)
        )
        _is_timeout(state)

    def test_a_job_within_its_timeout_succeeds(self, harness: Harness) -> None:
        """Only the command's own time counts, so a timeout shorter than all the waiting around it does no harm."""
        assert harness.run(harness.spec(timeout=timedelta(seconds=60))).status is JobStatus.SUCCEEDED


class RetryConformance(Fixtures):
    """`retries`: the command again, in place."""

    def test_a_retry_may_succeed(self, harness: Harness) -> None:
        """What the command is told, what is logged and what is reported must count alike, from 1."""
        code = """
            import os
            attempt = int(os.environ["LYFTLEARN_ATTEMPT"])
            print("attempt", attempt)
            raise SystemExit(0 if attempt == 3 else 1)
        """
        spec = harness.spec(code, retries=4)
        state = harness.run(spec)
        assert (state.status, state.reason, state.exit_code) == (JobStatus.SUCCEEDED, None, 0)
        assert state.attempt == 3
        assert harness.lines(spec.id) == ["attempt 1", "attempt 2", "attempt 3"]

    def test_retries_end(self, harness: Harness) -> None:
        """The last attempt's exit code is the job's, and no attempt is made that was not asked for."""
        code = "import os; print('tried'); raise SystemExit(40 + int(os.environ['LYFTLEARN_ATTEMPT']))"
        spec = harness.spec(code, retries=2)
        state = harness.run(spec)
        assert (state.status, state.exit_code, state.attempt) == (JobStatus.FAILED, 43, 3)
        assert harness.lines(spec.id) == ["tried"] * 3

    def test_no_retries_means_one_attempt(self, harness: Harness) -> None:
        """A command that must not run twice is the default."""
        spec = harness.spec("print('tried'); raise SystemExit(1)")
        assert harness.run(spec).attempt == 1
        assert harness.lines(spec.id) == ["tried"]


class WatchConformance(Fixtures):
    """`watch`: one call serves every handle of a process."""

    def test_jobs_followed_later_are_told_too(self, harness: Harness) -> None:
        """Jobs are submitted long after the one watch of a process has begun."""
        for _ in range(3):
            assert harness.run(harness.spec()).status is JobStatus.SUCCEEDED

    def test_a_finished_job_is_told(self, harness: Harness, another: Backend) -> None:
        """Waiting for a job that ended last week must return at once, in a process that never saw it run."""
        spec = harness.succeed(harness.spec())
        late = Watcher(another)
        state = late.until(harness.patience, spec.id, lambda state: state.status.finished)
        late.close(harness.patience)
        assert state == harness.watcher.progress[spec.id].state

    def test_unknown_jobs_are_skipped(self, harness: Harness) -> None:
        """One job that was deleted must not end the watch of all others."""
        for name in ("gone", "never-was"):
            harness.watcher.following.add(new_id(name, JobKind.TRAIN, default_letter(harness.backend.name)))
        assert harness.run(harness.spec()).status is JobStatus.SUCCEEDED

    def test_an_unknown_job_is_reported(self, harness: Harness) -> None:
        """Whoever waits for a job that was removed must be told, or waits for ever."""
        for name in ("gone", "never-was"):
            job_id = new_id(name, JobKind.TRAIN, default_letter(harness.backend.name))
            with pytest.raises(JobNotFound):
                harness.wait(job_id)

    def test_a_job_that_is_removed_is_reported(self, harness: Harness, remove_job: Callable[[str], None]) -> None:
        """Somebody deletes a job that others wait for: they hear of it, and nobody calls it a success."""
        spec = harness.spec("import time; time.sleep(600)")
        harness.submit(spec)
        harness.watcher.until(harness.patience, spec.id, lambda state: state.status is JobStatus.RUNNING)
        remove_job(spec.id)
        try:
            assert harness.wait(spec.id).status is not JobStatus.SUCCEEDED
        except JobNotFound:
            return

    def test_it_returns_when_closed(self, backend: Backend, patience: float) -> None:
        """A process must be able to end, also while nothing happens and when nothing was followed."""
        following = WatchSet()
        following.close()
        assert within(patience, lambda: list(backend.watch(following)), "a watch that was closed before it began") == []
        watcher = Watcher(backend)
        watcher.close(patience)

    def test_events_are_about_followed_jobs(self, harness: Harness) -> None:
        """A substrate holds thousands of other people's jobs."""
        ignored = harness.spec()
        harness.submit(ignored)
        spec = harness.spec()
        harness.run(spec)
        assert {event.job_id for event in harness.watcher.events} == {spec.id}

    def test_events_in_any_order_give_the_same_end(self, harness: Harness) -> None:
        """A final event is complete, and nothing that is said after it contradicts it."""
        code = "import os, time; time.sleep(1); raise SystemExit(0 if os.environ['LYFTLEARN_ATTEMPT'] == '2' else 3)"
        spec = harness.spec(code, retries=1)
        state = harness.run(spec)
        events = list(harness.watcher.events)
        shuffled = random.Random(0)  # noqa: S311 - an order, no secret
        for _ in range(20):
            shuffled.shuffle(events)
            assert _after(events) == state
        first_end = next(event for event in events if event.status.finished)
        assert [event for event in events if event.status.finished and event != first_end] == []

    def test_a_long_job_is_seen_running(self, harness: Harness) -> None:
        """A job that is shown as pending until it ends looks stuck."""
        spec = harness.spec("import time; time.sleep(600)")
        harness.submit(spec)
        state = harness.watcher.until(
            harness.patience, spec.id, lambda state: state.status is JobStatus.RUNNING or state.status.finished
        )
        assert state.status is JobStatus.RUNNING
        harness.backend.stop(spec.id)
        assert harness.wait(spec.id).status is JobStatus.STOPPED


def _after(events: list[JobEvent]) -> JobState:
    start: ObservedState | None = None
    progress = reduce(advance, events, start)
    assert progress is not None
    return progress.state


def _is_timeout(state: JobState) -> None:
    seen = (state.status, state.reason)
    if seen != (JobStatus.FAILED, FailureReason.TIMEOUT):
        pytest.fail(f"a timeout must be FAILED with reason TIMEOUT, not {seen}: {state.message}")
