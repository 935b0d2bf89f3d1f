"""What every test of the suite works with: specs, waiting through `watch`, lines, files."""

from __future__ import annotations

import hashlib
import secrets
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lyftlearn._contract.ids import default_letter, new_id
from lyftlearn._transfer.download import fetch_output
from lyftlearn.backend import (
    Backend,
    Capability,
    JobRecord,
    JobSpec,
    LogLine,
    LogQuery,
    ResourceRequest,
    Source,
    WatchSet,
)
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent, ObservedState, advance
from lyftlearn.testing.conformance import _archives
from lyftlearn.types import JobKind, JobState, JobStatus

_T = TypeVar("_T")

SMALL = ResourceRequest(cpu=1, memory=512 << 20, gpu=0, gpu_type=None, disk=1 << 30, shared_memory=None)
_OUTPUTS = {JobKind.TRAIN: "output", JobKind.PREDICT: "predictions"}


def within(patience: float, function: Callable[[], _T], what: str) -> _T:
    """Return `function()`, or fail if it takes more than `patience` seconds."""
    answers: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(function())
        except BaseException as exc:  # noqa: BLE001 - raised again below, where pytest sees it
            errors.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    if errors:
        raise errors[0]
    if not answers:
        pytest.fail(f"{what} took more than {patience:.0f} s")
    return answers[0]


RUNTIME_WORDS = "lyftlearn: "
"""Begins each line that the runtime adds to a log, such as that a train job has left no model."""


class Watcher:
    """One `Backend.watch` and what it has said so far."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._said = threading.Condition()
        self._error: BaseException | None = None
        self._absences: dict[str, JobNotFound] = {}
        self.following = WatchSet(self._note_absence)
        self.events: list[JobEvent] = []
        self.progress: dict[str, ObservedState] = {}
        self._thread = threading.Thread(target=self._listen, name="conformance-watch", daemon=True)
        self._thread.start()

    def until(self, patience: float, job_id: str, reached: Callable[[JobState], bool]) -> JobState:
        """Return the first known state of a job for which `reached` is true."""
        self.following.add(job_id)
        with self._said:
            self._said.wait_for(lambda: self._failure_of(job_id) or self._has_reached(job_id, reached), patience)
            failure = self._failure_of(job_id)
            if failure:
                raise failure
            if not self._has_reached(job_id, reached):
                known = self.progress.get(job_id)
                pytest.fail(f"watch said nothing awaited of {job_id} within {patience:.0f} s; last known: {known}")
            return self.progress[job_id].state

    def close(self, patience: float) -> None:
        """End the watch; fail if it does not end."""
        self.following.close()
        self._thread.join(patience)
        if self._error:
            raise self._error
        assert not self._thread.is_alive(), f"watch goes on {patience:.0f} s after its WatchSet was closed"

    def _has_reached(self, job_id: str, reached: Callable[[JobState], bool]) -> bool:
        return job_id in self.progress and reached(self.progress[job_id].state)

    def _failure_of(self, job_id: str) -> BaseException | None:
        return self._error or self._absences.get(job_id)

    def _note_absence(self, job_id: str, error: JobNotFound) -> None:
        with self._said:
            self._absences[job_id] = error
            self._said.notify_all()

    def _listen(self) -> None:
        try:
            for event in self._backend.watch(self.following):
                self._hear(event)
        except BaseException as exc:  # noqa: BLE001 - raised again in the test
            self._error = exc
            with self._said:
                self._said.notify_all()

    def _hear(self, event: JobEvent) -> None:
        with self._said:
            self.events.append(event)
            self.progress[event.job_id] = advance(self.progress.get(event.job_id), event)
            self._said.notify_all()


class Harness:
    """Makes specs and runs them on one backend, and waits no longer than `patience` seconds for anything."""

    def __init__(self, backend: Backend, storage_url: str, python: Sequence[str], patience: float) -> None:
        self.backend = backend
        self.capabilities = backend.capabilities()
        self.storage_url = storage_url.rstrip("/")
        self.patience = patience
        self._python = tuple(python)
        self._watcher: Watcher | None = None
        self.defaults: Mapping[str, Any] = {}
        self.mark: Callable[[pytest.MarkDecorator], None] = lambda _: None

    @property
    def watcher(self) -> Watcher:
        """The watch that serves this test."""
        if self._watcher is None:
            self._watcher = Watcher(self.backend)
        return self._watcher

    def close(self) -> None:
        """End the watch."""
        if self._watcher is not None:
            self._watcher.close(self.patience)

    def need(self, *capabilities: Capability) -> None:
        """Skip the test if the backend says that it lacks one of `capabilities`."""
        for capability in capabilities:
            reason = self.capabilities.why_not(capability)
            if reason is not None:
                pytest.skip(f"lacks {capability}: {reason}")

    def expect(self, capability: Capability) -> None:
        """Expect the test to fail if the backend says that it lacks `capability`: a lack that works is none."""
        reason = self.capabilities.why_not(capability)
        if reason is not None:
            self.mark(pytest.mark.xfail(strict=True, reason=f"lacks {capability}: {reason}"))

    def expect_seen(self, path: Path) -> None:
        """Expect the test to fail if the backend says that jobs do not see `path` by themselves."""
        if not self.capabilities.sees_path(str(path)):
            self.mark(pytest.mark.xfail(strict=True, reason=f"jobs see {self.capabilities.sees} only"))

    def python(self, code: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs `code`, which may be indented, with `arguments` in `sys.argv`."""
        return (*self._python, "-c", textwrap.dedent(code), *arguments)

    def spec(self, code: str = "", **changes: Any) -> JobSpec:
        """Return a small train job that runs `code`, with any field of JobSpec replaced by `changes`."""
        kind = changes.get("kind", JobKind.TRAIN)
        name = changes.get("name", f"conformance-{secrets.token_hex(4)}")
        job_id = changes.get("id") or new_id(name, kind, default_letter(self.backend.name))
        spec = JobSpec(
            id=job_id,
            kind=kind,
            name=name,
            command=self.python(code),
            image=None,
            source=None,
            hyperparameters="{}",
            inputs={},
            outputs={_OUTPUTS.get(kind, "output"): None},
            output_uri=f"{self.storage_url}/jobs/{job_id}/output",
            artifact=None,
            env={},
            secrets=(),
            resources=SMALL,
            nodes=1,
            timeout=timedelta(seconds=self.patience),
            grace=timedelta(seconds=10),
            retries=0,
            labels={},
            digest="",
            decision='{"reason": "conformance"}',
        )
        spec = replace(spec, **{**self.defaults, **changes})
        return spec if "digest" in changes else replace(spec, digest=_digest(spec))

    def quiet(self, code: str = "", **changes: Any) -> JobSpec:
        """Return a small job whose log is its command's alone: a train job without a model says so."""
        processes = Capability.PROCESS in self.capabilities.offers
        return self.spec(code, kind=JobKind.PROCESS if processes else JobKind.TRAIN, **changes)

    def submit(self, spec: JobSpec) -> JobRecord:
        """Plan and submit; a fault fails the test."""
        plan = self.backend.plan(spec)
        assert not plan.faults, f"the plan of a job that needs nothing special has faults: {plan.faults}"
        return self.backend.submit(plan)

    def run(self, spec: JobSpec) -> JobState:
        """Submit and wait for the end."""
        return self.run_all([spec])[0]

    def run_all(self, specs: Sequence[JobSpec]) -> list[JobState]:
        """Submit all, then wait for the end of all."""
        for spec in specs:
            self.submit(spec)
        return [self.wait(spec.id) for spec in specs]

    def wait(self, job_id: str) -> JobState:
        """Wait for a job's end, through `watch`."""
        return self.watcher.until(self.patience, job_id, lambda state: state.status.finished)

    def succeed(self, spec: JobSpec) -> JobSpec:
        """Submit, wait, and fail with the job's own words if it did not succeed."""
        state = self.run(spec)
        assert state.status is JobStatus.SUCCEEDED, f"{spec.id} should have succeeded: {state}\n{self._last(spec.id)}"
        return spec

    def output_lines(self, spec: JobSpec) -> list[str]:
        """Run a job that must succeed, and return its lines."""
        return self.lines(self.succeed(spec).id)

    def until_line(self, job_id: str, text: str) -> None:
        """Wait until a running job has printed the line `text`."""

        def look() -> bool:
            return any(line.text == text for line in self.backend.logs(job_id, LogQuery(follow=True)))

        assert within(self.patience, look, f"seeing {text!r} in the log"), f"{job_id} ended without printing {text!r}"

    def log(self, job_id: str, **query: Any) -> list[LogLine]:
        """Return what `logs` gives until it ends."""
        return within(self.patience, lambda: list(self.backend.logs(job_id, LogQuery(**query))), f"logs({query})")

    def lines(self, job_id: str, **query: Any) -> list[str]:
        """Return what the command printed, by `logs` until it ends: without the runtime's own words."""
        return [line.text for line in self.log(job_id, **query) if not line.text.startswith(RUNTIME_WORDS)]

    def lines_until_stop(self, job_id: str, text: str, **query: Any) -> list[str]:
        """Follow a job, stop it once it has printed the line `text`, and return its lines, as `lines` does."""

        def follow() -> list[str]:
            found = []
            for line in self.backend.logs(job_id, LogQuery(follow=True, **query)):
                found.append(line.text)
                if line.text == text:
                    self.backend.stop(job_id)
            return found

        lines = within(self.patience, follow, f"logs(follow=True, {query}) of a job that is stopped")
        return [line for line in lines if not line.startswith(RUNTIME_WORDS)]

    def put(self, files: Mapping[str, bytes]) -> str:
        """Keep files, name to content, in a new directory of the storage, and return its URI."""
        directory = f"{self.storage_url}/conformance/{secrets.token_hex(8)}"
        for name, content in files.items():
            _archives.write(f"{directory}/{name}", content)
        return directory

    def put_source(self, files: Mapping[str, bytes]) -> Source:
        """Keep `files` as a job's source."""
        archive = _archives.pack(files)
        uri = f"{self.put({'source.tar.gz': archive})}/source.tar.gz"
        return Source(uri=uri, sha256=hashlib.sha256(archive).hexdigest())

    def fetch(self, job_id: str, output: str, under: Path) -> dict[str, bytes]:
        """Return relative path to content of every file of one output, fetched into a directory below `under`."""
        place = under / job_id / output
        fetch_output(self.backend.outputs(job_id)[output], place, absent_is_empty=True)
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    printed = output_lines  # their names in 1.0
    fetched = fetch

    def _last(self, job_id: str) -> str:
        return "\n".join(self.lines(job_id, tail=20))


def _digest(spec: JobSpec) -> str:
    names = [field.name for field in fields(spec) if field.name not in ("id", "output_uri")]
    return hashlib.sha256(repr([getattr(spec, name) for name in names]).encode()).hexdigest()
