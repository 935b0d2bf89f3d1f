"""The backend of a fake: jobs in this process's memory, which do what their script says when somebody looks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from lyftlearn._contract.spec import JobSpec
from lyftlearn.backend import (
    Backend,
    Capabilities,
    Capability,
    JobQuery,
    JobRecord,
    LogLine,
    LogQuery,
    NotebookAddress,
    Plan,
    Request,
    WatchSet,
)
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.runtime.location import Location
from lyftlearn.runtime.packing import pack_to
from lyftlearn.testing.fake._outcome import Outcome
from lyftlearn.types import JobStatus

NAME = "fake"
_LOOK = 0.005  # seconds between two looks of a watch at jobs that somebody else has to end
_CAPABILITIES = Capabilities(offers=frozenset(Capability), sees=("/",))


@dataclass
class FakeJob:
    """A job: what was submitted, what is observed of it, and what is still to come."""

    spec: JobSpec
    record: JobRecord
    outcome: Outcome
    coming: deque[JobStatus | str]

    @classmethod
    def of(cls, spec: JobSpec, outcome: Outcome) -> FakeJob:
        """Return a job that was submitted now."""
        return cls(spec, JobRecord.of(spec, datetime.now(UTC)), outcome, deque((*outcome.states, outcome.status)))

    def look(self) -> JobRecord:
        """Return what is observed, one state further than at the last look."""
        if self.coming and not self.record.event.status.finished:
            self._observe(JobStatus(self.coming.popleft()))
        return self.record

    def end(self, outcome: Outcome) -> None:
        """Let it end so, whatever its script says; nothing where it has ended."""
        if not self.record.event.status.finished:
            self.outcome, self.coming = replace(outcome, logs=(*self.outcome.logs, *outcome.logs)), deque()
            self._observe(JobStatus(outcome.status))

    def _observe(self, status: JobStatus) -> None:
        before, now, outcome = self.record.event, datetime.now(UTC), self.outcome
        started = None if status in (JobStatus.PENDING, JobStatus.STARTING) else before.started_at or now
        event = replace(before, status=status, at=now, attempt=outcome.attempt, started_at=started)
        if status is outcome.status and status.finished:
            if status is JobStatus.SUCCEEDED:
                _write_outputs(self.spec, outcome)
            told = {"message": outcome.message, "exit_code": outcome.exit_code}
            event = replace(event, reason=outcome.reason, **told)  # type: ignore[arg-type]  # Outcome settled them
        self.record = replace(self.record, event=event)


class FakeBackend(Backend):
    """Jobs in memory. next_outcome: gives the script of the next job, by its name; may raise what the call raises."""

    name = NAME

    def __init__(self, next_outcome: Callable[[str], Outcome]) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self._next_outcome = next_outcome
        self._lock = threading.RLock()

    def capabilities(self) -> Capabilities:
        """Return everything: what a platform lacks is its own plan's to say."""
        return _CAPABILITIES

    def plan(self, spec: JobSpec) -> Plan:
        """Return a plan without faults."""
        return Plan(spec=spec, backend=NAME, requests=(Request(operation="submit", body={"id": spec.id}),))

    def submit(self, plan: Plan) -> JobRecord:
        """Keep the job, with its script."""
        with self._lock:
            job = self.jobs.get(plan.spec.id)
            if job is None:
                job = self.jobs[plan.spec.id] = FakeJob.of(plan.spec, self._next_outcome(plan.spec.name))
            return job.record

    def describe(self, job_id: str) -> JobRecord:
        """Look at the job."""
        with self._lock:
            return self.job(job_id).look()

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first, as they were last observed."""
        with self._lock:
            records = [job.record for job in reversed(self.jobs.values())]
        yield from filter(query.matches, records)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines of the script; of several nodes, each has them."""
        job = self.job(job_id)
        at = job.record.event.started_at or job.record.event.at
        lines = list(job.outcome.logs)
        lines = lines if query.tail is None else lines[max(0, len(lines) - query.tail) :]
        for node in range(job.spec.nodes):
            if query.node in (None, node) and (query.since is None or at >= query.since):
                yield from (LogLine(node, at, line) for line in lines)
        if query.follow:
            self._wait_for_end(job)

    def stop(self, job_id: str) -> None:
        """End the job as stopped."""
        with self._lock:
            self.job(job_id).end(Outcome(status=JobStatus.STOPPED))

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        """Look at every followed job until it has ended."""
        told: dict[str, JobEvent] = {}
        while not following.closed:
            ids = following.ids
            for job_id in ids:
                while told.get(job_id) != (event := self._look(job_id, following)) and event is not None:
                    told[job_id] = event
                    yield event
            is_open = any(not told[job_id].status.finished for job_id in ids if job_id in told)
            following.wait_for_change(_LOOK if is_open else 60.0, ids)

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        """Return an address at which nobody answers."""
        self.job(job_id)
        return NotebookAddress(f"http://127.0.0.1:8888/lab?token={job_id}")

    def job(self, job_id: str) -> FakeJob:
        """Return the job. Raises JobNotFound."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise JobNotFound(f"{job_id} was not submitted to this fake") from None

    def end(self, job_id: str, outcome: Outcome) -> None:
        """Let a job end."""
        with self._lock:
            self.job(job_id).end(outcome)

    def _look(self, job_id: str, following: WatchSet) -> JobEvent | None:
        try:
            return self.describe(job_id).event
        except JobNotFound as error:
            following.report_absence(job_id, error)
            return None

    def _wait_for_end(self, job: FakeJob) -> None:
        pause = threading.Event()
        while not self.describe(job.spec.id).event.status.finished:
            pause.wait(_LOOK)


def _write_outputs(spec: JobSpec, outcome: Outcome) -> None:
    """Put what the script gives where a download looks for it: the archives of a job, or a directory of the caller."""
    apart = {name: uri for name, uri in spec.outputs.items() if uri}
    kept = {name: files for name, files in outcome.outputs.items() if name != "model" and name not in apart}
    with TemporaryDirectory() as directory:
        for name, files in outcome.outputs.items():
            for path, content in files.items():
                file = Path(directory, name, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.encode() if isinstance(content, str) else content)
        if "model" in outcome.outputs:
            pack_to(f"{spec.output_uri}/model.tar.gz", f"{directory}/model")
        if kept:
            pack_to(f"{spec.output_uri}/output.tar.gz", directory, without=("model", *apart))
        for name, uri in apart.items():
            location = Location.parse(uri)
            if location.is_file and name in outcome.outputs:
                Path(location.path).mkdir(parents=True, exist_ok=True)
                for file in sorted(Path(directory, name).rglob("*")):
                    target = Path(location.path, file.relative_to(Path(directory, name)))
                    target.mkdir(exist_ok=True) if file.is_dir() else target.write_bytes(file.read_bytes())
