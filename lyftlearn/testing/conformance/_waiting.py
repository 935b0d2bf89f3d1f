"""A job for which no machine is free: it waits, says so, and can be stopped; waiting too long is an end of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lyftlearn.backend import JobQuery, words
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import FailureReason, JobStatus

TakeMachines = Callable[[], AbstractContextManager[None]]


class WaitingConformance(Fixtures):
    """A full platform looks alike everywhere, so that a migration changes no alert and no script that waits."""

    def test_a_job_that_waits_is_pending(self, harness: Harness, take_machines: TakeMachines) -> None:
        """It has not started, whoever looks and however; when there is room it runs as any other, and tells no more."""
        with take_machines():
            spec = harness.quiet("print('ran')")
            harness.submit(spec)
            harness.watcher.until(harness.patience, spec.id, lambda state: state.status is JobStatus.PENDING)
            waiting = harness.backend.describe(spec.id).event
            assert (waiting.status, waiting.started_at, waiting.reason) == (JobStatus.PENDING, None, None), waiting
            listed = harness.backend.list(JobQuery(name=spec.name, status=JobStatus.PENDING))
            assert spec.id in [record.id for record in listed]
            assert harness.lines(spec.id) == []
        state = harness.wait(spec.id)
        end = (state.status, state.reason, state.message, state.exit_code, state.attempt)
        assert end == (JobStatus.SUCCEEDED, None, "", 0, 1), state
        assert harness.lines(spec.id) == ["ran"]

    def test_a_stop_while_it_waits(self, harness: Harness, take_machines: TakeMachines) -> None:
        """The command never began, and nothing of the job comes later."""
        with take_machines():
            spec = harness.quiet("print('ran')")
            harness.submit(spec)
            harness.watcher.until(harness.patience, spec.id, lambda state: state.status is JobStatus.PENDING)
            harness.backend.stop(spec.id)
            state = harness.wait(spec.id)
        end = (state.status, state.reason, state.message, state.exit_code, state.started_at)
        assert end == (JobStatus.STOPPED, None, words.STOP_REQUESTED, None, None), state
        assert harness.lines(spec.id) == []

    def test_a_job_that_waits_too_long(self, impatient: Harness, take_machines: TakeMachines) -> None:
        """It ends by itself, for want of capacity: a number that people alert on, and a retry that makes sense."""
        with take_machines():
            spec = impatient.quiet("print('ran')")
            impatient.submit(spec)
            state = impatient.wait(spec.id)
        end = (state.status, state.reason, state.exit_code, state.started_at)
        assert end == (JobStatus.FAILED, FailureReason.CAPACITY, None, None), state
        assert state.message.startswith("no machine was free within "), state.message
