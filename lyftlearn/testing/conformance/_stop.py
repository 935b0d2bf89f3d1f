"""Stopping."""

from __future__ import annotations

from datetime import timedelta

from lyftlearn.backend import Backend
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobState, JobStatus

_DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    while True:
        time.sleep(1)
"""
_POLITE = """
    import signal, sys, time
    def leave(*_):
        time.sleep(1)
        print("cleaned up", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    print("up", flush=True)
    while True:
        time.sleep(1)
"""
_PARENT_AND_CHILD = """
    import signal, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
    child.wait()
"""
_CHILD = """
import signal, sys, time
def leave(*_):
    print("child told", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(600)
"""


class StopConformance(Fixtures):
    """`stop`: SIGTERM, grace, SIGKILL; and always the status STOPPED."""

    def test_a_stopped_job_is_stopped_even_if_it_exits_well(self, harness: Harness) -> None:
        """A program that ends with 0 on SIGTERM did not finish its work, and SUCCEEDED would be believed."""
        spec = _start(harness, _POLITE)
        state = _stop(harness, spec)
        assert state.status is JobStatus.STOPPED
        assert state.reason is None
        assert harness.lines(spec) == ["up", "cleaned up"], "the grace period is there to clean up in"

    def test_the_signal_reaches_the_whole_group(self, harness: Harness) -> None:
        """Commands are often shells or launchers, and the work is in their children."""
        spec = harness.spec(command=harness.python(_PARENT_AND_CHILD, _CHILD))
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        assert _stop(harness, spec.id).status is JobStatus.STOPPED
        assert harness.lines(spec.id) == ["up", "child told"]

    def test_a_command_that_ignores_it_is_killed(self, harness: Harness) -> None:
        """Whoever stops a job must not pay for it any longer than its grace."""
        job_id = _start(harness, _DEAF, grace=timedelta(seconds=2))
        assert _stop(harness, job_id).status is JobStatus.STOPPED

    def test_it_may_be_repeated_and_by_others(self, harness: Harness, another: Backend) -> None:
        """An impatient person, or a client whose connection broke, asks again; the command is told once."""
        job_id = _start(harness, _POLITE)
        for backend in (another, harness.backend, another):
            backend.stop(job_id)
        assert harness.wait(job_id).status is JobStatus.STOPPED
        assert harness.lines(job_id) == ["up", "cleaned up"]

    def test_the_wish_outlives_whoever_had_it(self, harness: Harness, another: Backend) -> None:
        """The process that asked may end right after `stop` returned; the grace is then somebody else's to count."""
        job_id = _start(harness, _DEAF, grace=timedelta(seconds=2))
        another.stop(job_id)
        assert harness.wait(job_id).status is JobStatus.STOPPED

    def test_stop_before_the_start(self, harness: Harness) -> None:
        """A job that was submitted by mistake is stopped within the second, before anything runs."""
        spec = harness.spec("import time; time.sleep(600)")
        harness.submit(spec)
        assert _stop(harness, spec.id).status is JobStatus.STOPPED

    def test_no_retry_after_a_stop(self, harness: Harness) -> None:
        """A command that fails because it was stopped must not be started again."""
        code = "import time; print('up', flush=True); time.sleep(600)"
        job_id = _start(harness, code, retries=5)
        assert _stop(harness, job_id).status is JobStatus.STOPPED
        assert harness.lines(job_id) == ["up"]

    def test_on_a_finished_job_nothing_happens(self, harness: Harness) -> None:
        """Whoever stops a list of jobs does not know which of them have ended; their results must stay."""
        specs = [harness.spec(), harness.spec("raise SystemExit(3)")]
        harness.run_all(specs)
        for spec in specs:
            before = harness.backend.describe(spec.id)
            harness.backend.stop(spec.id)
            assert harness.backend.describe(spec.id) == before


def _start(harness: Harness, code: str, **changes: object) -> str:
    spec = harness.spec(code, **changes)
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    return spec.id


def _stop(harness: Harness, job_id: str) -> JobState:
    harness.backend.stop(job_id)
    return harness.wait(job_id)
