"""Running the jobs of a comparison: all at once, as far as each backend lets us, and none left behind on Ctrl-C.

One thread serves one job from its submission to its last fact. Nothing that happens to one job or on one backend holds
up the others: what goes wrong is what was observed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lyftlearn._client import Client
from lyftlearn._jobs.job import Job
from lyftlearn.errors import BackendUnavailable, LyftLearnError, QuotaExceeded, WaitTimeout
from lyftlearn.parity._collectors import Facts, NotObserved, ProbeContext, mask
from lyftlearn.parity._trials import Trial, is_running
from lyftlearn.types import JobState

OBSERVED = "observed"
_STEP = "10s"
_LEAVE_TO_SUBMIT = 60.0  # seconds that submissions under way get to be answered, so that what they started is stopped


@dataclass(frozen=True, kw_only=True)
class ComparisonProgress:
    """How far it is. finished, of: jobs of all backends. by_backend: the same of each."""

    finished: int
    of: int
    by_backend: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class TrialResult:
    """What one job told. end: OBSERVED, or why nothing was."""

    end: str
    facts: Facts


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. The message says what became of the jobs."""


class BackendSlots:
    """One backend: its client, and how many jobs it may have at once."""

    def __init__(self, name: str, client: Client, parallel: int) -> None:
        self.name = name
        self.client = client
        self._most = parallel
        self._active = 0
        self._changed = threading.Condition()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the places; wait for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._active < self._most)
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def shrink(self) -> bool:
        """Take note that a quota holds. Return whether one of our own jobs has to end first, and will."""
        with self._changed:
            self._most = max(1, self._active - 1)
            return self._active > 1


class Runner:
    """Runs trials. patience: seconds in which a job should have started. on_update: told of every job that ended."""

    def __init__(
        self, context: ProbeContext, patience: float, on_update: Callable[[ComparisonProgress], None] | None
    ) -> None:
        self._context = context
        self._patience = patience
        self._on_update = on_update
        self._changed = threading.Condition()
        self._submitting = 0
        self._jobs: list[Job] = []
        self._cancelled = False
        self._results: dict[tuple[int, str], TrialResult] = {}

    def run(self, backends: Sequence[BackendSlots], trials: Sequence[Trial]) -> list[dict[str, TrialResult]]:
        """Return what every trial told in each of `backends`, in which a backend may come twice."""
        threads = [
            threading.Thread(target=self._serve, args=(at, backend, trial), name=f"parity-{trial.name}", daemon=True)
            for trial in trials
            for at, backend in enumerate(backends)
        ]
        try:
            for thread in threads:
                thread.start()
            self._await(backends, len(threads))
        except KeyboardInterrupt as exc:
            raise Interrupted(self._stop_all()) from exc
        return [{trial.name: self._results[at, trial.name] for trial in trials} for at in range(len(backends))]

    def _await(self, backends: Sequence[BackendSlots], count: int) -> None:
        with self._changed:
            while len(self._results) < count:
                self._changed.wait()
                if self._on_update:
                    self._on_update(self._progress(backends, count))

    def _progress(self, backends: Sequence[BackendSlots], count: int) -> ComparisonProgress:
        share = count // len(backends) if backends else 0
        done = {backend.name: (0, 0) for backend in backends}
        for at, backend in enumerate(backends):
            finished, of = done[backend.name]
            done[backend.name] = (finished + sum(1 for other, _ in self._results if other == at), of + share)
        return ComparisonProgress(finished=len(self._results), of=count, by_backend=done)

    def _serve(self, at: int, backend: BackendSlots, trial: Trial) -> None:
        result = self._result_of(at, backend, trial)
        with self._changed:
            self._results[at, trial.name] = result
            self._changed.notify_all()

    def _result_of(self, at: int, backend: BackendSlots, trial: Trial) -> TrialResult:
        """Run a trial to what it tells. Whatever happens is an answer: nobody waits for this thread otherwise."""
        try:
            return TrialResult(OBSERVED, self._facts_of(at, backend, trial))
        except NotObserved as exc:
            return TrialResult(f"not observed: {exc}", {})
        except Exception as exc:  # noqa: BLE001 - a plugin may raise anything, and it must not hold up the others
            return TrialResult(f"not observed: {type(exc).__name__}: {exc}", {})

    def _facts_of(self, at: int, backend: BackendSlots, trial: Trial) -> Facts:
        while True:
            with backend.slot():
                job = self._submit(at, backend, trial)
                if job is not None:
                    return {**self._finish(job, trial), **trial.collector(job, self._context)}

    def _submit(self, at: int, backend: BackendSlots, trial: Trial) -> Job | None:
        """Submit; None where a quota holds until another of our jobs has ended."""
        with self._submission():
            try:
                job: Job = getattr(backend.client, trial.kind)(trial.name_in(backend.name, at), **trial.arguments)
            except QuotaExceeded:
                if backend.shrink():
                    return None
                raise
            except BackendUnavailable as exc:
                _stop_if_there(backend.client, exc.job_id)
                raise
            self._jobs.append(job)
        return job

    @contextmanager
    def _submission(self) -> Iterator[None]:
        with self._changed:
            if self._cancelled:
                raise NotObserved("interrupted")
            self._submitting += 1
        try:
            yield
        finally:
            with self._changed:
                self._submitting -= 1
                self._changed.notify_all()

    def _finish(self, job: Job, trial: Trial) -> Facts:
        """Do what is to be done while the job runs, and see its end. A job that does not start is stopped."""
        if not is_running(job, time.monotonic() + self._patience):
            job.stop()
            raise NotObserved(mask(f"it did not start within {self._patience:g} s: {_state_text(job.state)}", job.id))
        found = {} if trial.act is None else trial.act(job)
        while not job.state.status.finished:
            with suppress(WaitTimeout):
                job.wait(_STEP, check=False, progress=False)
        return found

    def _stop_all(self) -> str:
        """Stop what was started, and say so: nobody else holds the ids."""
        with self._changed:
            self._cancelled = True
            self._changed.wait_for(lambda: not self._submitting, _LEAVE_TO_SUBMIT)
            left = [job for job in self._jobs if not job.state.status.finished]
        failed = [job.id for job in left if not _stop(job)]
        said = f"interrupted; {len(left) - len(failed)} jobs were asked to stop"
        return f"{said}, and these could not be: {' '.join(failed)}" if failed else said


def _state_text(state: JobState) -> str:
    return f"{state.status}: {state.message}" if state.message else str(state.status)


def _stop(job: Job) -> bool:
    try:
        job.stop()
    except LyftLearnError:
        return False
    return True


def _stop_if_there(client: Client, job_id: str | None) -> None:
    """A job whose acceptance nobody knows of would run unseen."""
    with suppress(LyftLearnError):
        if job_id:
            client.job(job_id).stop()
