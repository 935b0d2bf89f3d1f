"""The driver: batch after batch it draws trials, submits them, follows them to their end and keeps their objectives.

Whatever it needs to go on stands in the study, and is there before anything follows from it: a trial is kept before it
is submitted, and it is submitted under a key. So a driver that is killed at any point, and started anew, goes on where
it was. No trial is submitted twice, and none that runs is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._jobs.wait import wait
from lyftlearn._studies.trial_record import TrialRecord, best_record
from lyftlearn._text.display import telling_line
from lyftlearn.backend import LogQuery
from lyftlearn.errors import Conflict, InvalidJob, JobNotFound, LyftLearnError
from lyftlearn.events import JobEvent
from lyftlearn.tuning.objective import ObjectiveReading, read_objective
from lyftlearn.tuning.patience import Patience, explain
from lyftlearn.tuning.sampling import Sampler, most_trials
from lyftlearn.tuning.telling import best_line, trial_line
from lyftlearn.types import FailureReason, JobState, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn._studies.ledger import StudyWriter
    from lyftlearn._studies.study import Study
    from lyftlearn.tuning.trial_jobs import TrialJobs

_GONE = "its backend does not keep its job any more"


class SearchDriver:
    """Drives one search to its end."""

    def __init__(
        self,
        study: Study,
        writer: StudyWriter,
        jobs: TrialJobs,
        *,
        sampler: Sampler,
        patience: Patience,
        say: Callable[[str], None],
    ) -> None:
        self._study = study
        self._writer = writer
        self._jobs = jobs
        self._sampler = sampler
        self._patience = patience
        self._say = say
        self._open: dict[int, Job] = {}
        self._not_kept: list[TrialRecord] = []
        self._best = best_record(study, writer.known.values())

    def run(self) -> bool:
        """Search to the end, and return whether a trial succeeded. Raises LyftLearnError where no waiting helps."""
        total = most_trials(self._study)
        for first in range(0, total, self._study.parallel):
            self._run_batch(range(first, min(first + self._study.parallel, total)))
        self._keep([])
        best = best_record(self._study, self._writer.known.values())
        self._say(best_line(self._study, best, list(self._writer.known.values())))
        return best is not None

    def _run_batch(self, numbers: range) -> None:
        """Draw what is not drawn yet, and tell the sampler how all ended in the order of their numbers."""
        drawn = [self._draw(number) for number in numbers]
        if new := [record for record in drawn if record.number not in self._writer.known]:
            self._keep(new)
        for number in numbers:
            if self._record_of(number).end is None:
                self._submit(number)
        while self._open:
            self._follow()
        for number in numbers:
            self._sampler.tell(self._record_of(number))

    def _draw(self, number: int) -> TrialRecord:
        known = self._writer.known.get(number)
        if known is not None:
            self._sampler.add(known)
            return known
        draw = self._sampler.draw(number)
        job_id = self._jobs.job_id(number, draw)
        return TrialRecord(number=number, draw=draw, job_id=job_id, asked_at=datetime.now(UTC))

    def _record_of(self, number: int) -> TrialRecord:
        """Return what is known of a trial, kept or about to be."""
        return next((one for one in self._not_kept if one.number == number), self._writer.known[number])

    def _keep(self, records: list[TrialRecord]) -> None:
        together = [*self._not_kept, *records]
        if together:
            self._patience.until_done("the study", lambda: self._writer.keep(together))
        self._not_kept = []

    def _submit(self, number: int) -> None:
        record = self._record_of(number)
        try:
            job = self._patience.until_done(f"trial {number}", lambda: self._jobs.submit(number, record.draw))
        except (InvalidJob, Conflict) as refusal:
            self._end(number, _failure(record, f"it was refused: {explain(refusal)}"), ObjectiveReading(None))
            return
        if job is None:
            self._end(number, _failure(record, _GONE), ObjectiveReading(None))
        else:
            self._open[number] = job

    def _follow(self) -> None:
        """Wait for what runs. Where the wait breaks, see what has become of each trial, and wait again."""
        try:
            wait(list(self._open.values()), check=False, progress=False, on_update=self._on_update)
        except LyftLearnError as error:
            self._say(f"the trials of this batch cannot be followed: {explain(error)}")
            for number, job in list(self._open.items()):
                self._look_at(number, job)

    def _look_at(self, number: int, job: Job) -> None:
        try:
            state = self._patience.until_done(f"trial {number}", job.refresh)
        except JobNotFound:
            self._open.pop(number)
            self._end(number, _failure(self._record_of(number), _GONE), ObjectiveReading(None))
            return
        self._on_update(job, state)

    def _on_update(self, job: Job, state: JobState) -> None:
        number = next((number for number, other in self._open.items() if other.id == job.id), None)
        if number is None or not state.status.finished:
            return
        reading = self._read(number, job) if state.status is JobStatus.SUCCEEDED else ObjectiveReading(None)
        self._open.pop(number)
        self._end(number, _event(job.id, state), reading)

    def _read(self, number: int, job: Job) -> ObjectiveReading:
        try:
            return self._patience.until_done(
                f"the log of trial {number}",
                lambda: read_objective(self._study.pattern, job._log_lines(LogQuery(follow=True))),  # noqa: SLF001
            )
        except JobNotFound:
            return ObjectiveReading(None, "its log is gone")

    def _end(self, number: int, end: JobEvent, reading: ObjectiveReading) -> None:
        """Note the end of a trial. The last of a batch is kept together with the next batch, in one request."""
        message = reading.message
        if end.status is not JobStatus.SUCCEEDED:
            message = telling_line(end.message) or str(end.status)
        record = replace(self._record_of(number), end=end, objective=reading.value, message=message)
        self._say(trial_line(self._study, record, self._best))
        self._best = best_record(self._study, filter(None, [self._best, record]))
        self._not_kept.append(record)
        if self._open:
            self._keep([])


def _event(job_id: str, state: JobState) -> JobEvent:
    return JobEvent(
        job_id=job_id,
        status=state.status,
        at=state.finished_at or datetime.now(UTC),
        reason=state.reason,
        message=state.message,
        exit_code=state.exit_code,
        attempt=state.attempt,
        created_at=state.created_at,
        started_at=state.started_at,
    )


def _failure(record: TrialRecord, message: str) -> JobEvent:
    return JobEvent(
        job_id=record.job_id,
        status=JobStatus.FAILED,
        at=datetime.now(UTC),
        reason=FailureReason.PLATFORM,
        message=message,
        created_at=record.asked_at,
    )
