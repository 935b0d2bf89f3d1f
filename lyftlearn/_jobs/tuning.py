"""Handles on searches: what their driver keeps in the storage, read from any process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from lyftlearn._jobs.job import Job, NoOutputs
from lyftlearn.errors import JobFailed, JobNotFound, LyftLearnError
from lyftlearn.types import JSON, FailureReason, JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._contract.fault import Fault
    from lyftlearn._studies.ledger import StudyReader
    from lyftlearn._studies.study import Study
    from lyftlearn._studies.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One try of a search.

    objective: None while the trial runs, and where it failed. message: why it failed.
    """

    __module__ = "lyftlearn"

    number: int
    hyperparameters: Mapping[str, JSON]
    objective: float | None
    job: Job
    message: str = ""


class TuningJob(Job):
    """A handle on a search for the best hyperparameters. The job itself is the search's driver."""

    __module__ = "lyftlearn"

    def trials(self) -> list[Trial]:
        """Return every trial that was started, in order, also while the search runs. The last may be about to start."""
        study = self._study.study()
        return [] if study is None else [self._trial(study, record) for record in self._study.records()]

    def best(self) -> Trial:
        """Return the best trial that has succeeded so far. Raises JobFailed if none has."""
        best = self._best()
        if best is None:
            raise JobFailed(self, replace(self.state, message=self._why_no_best()))
        return best

    @property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of the best trial so far, by name: "model" and "output"."""
        best = self._best()
        return NoOutputs(f"{self.id}: {self._why_no_best()}") if best is None else best.job.outputs

    def download(self, dest: str | PathLike[str], *, output: str | None = None, overwrite: bool = False) -> Path:
        """Download the outputs of the best trial so far, as `Job.download` does. Raises JobFailed if there is none."""
        return self.best().job.download(dest, output=output, overwrite=overwrite)

    def stop(self, *, wait: bool = False) -> None:
        """Ask the search to stop: its driver, and every trial that runs. A finished search stays as it is.

        wait: whether to return only when all of them have finished.
        """
        from lyftlearn._jobs import arguments  # noqa: PLC0415 - as above

        faults: list[Fault] = []
        arguments.switch("wait", wait, faults)
        arguments.refuse(faults)
        self._study.ask_to_stop()
        self._shared_watch().backend.stop(self.id)
        self._stop_trials()
        if wait:
            self.wait(check=False, progress=False)
            for job in self._stop_trials():  # what the driver submitted in between
                with suppress(JobNotFound):
                    job.wait(check=False, progress=False)

    def _stop_trials(self) -> list[Job]:
        """Stop the trials whose end is not known; return those that were there to be stopped."""
        backend, stopped = self._shared_watch().backend, []
        for record in self._study.records():
            if record.end is None:
                with suppress(JobNotFound):  # drawn, and not submitted yet
                    backend.stop(record.job_id)
                    stopped.append(self._job(None, record))
        return stopped

    def _repr_html_(self) -> str:
        from lyftlearn._jobs.search_views import search_html  # noqa: PLC0415 - only notebooks show it
        from lyftlearn._jobs.views import note_html  # noqa: PLC0415 - as above

        try:
            study = self._study.study()
            trials = search_html(study, self._study.records()) if study else note_html("no trials yet")
        except LyftLearnError as exc:
            trials = note_html(f"the trials cannot be read: {exc}")
        return super()._repr_html_() + trials

    def _standing(self) -> str:
        """Return how far the search is, in a line; nothing before the driver has begun."""
        from lyftlearn._jobs.search_views import search_text  # noqa: PLC0415 - only a wait shows it

        study = self._study.study()
        return search_text(study, self._study.records()) if study else ""

    @property
    def _study(self) -> StudyReader:
        reader: StudyReader | None = self.__dict__.get("_reader")
        if reader is None:
            from lyftlearn._studies.ledger import StudyReader  # noqa: PLC0415 - an import of lyftlearn does not pay

            reader = self.__dict__["_reader"] = StudyReader(self._shared_watch().storage, self.id)
        return reader

    def _best(self) -> Trial | None:
        from lyftlearn._studies.trial_record import best_record  # noqa: PLC0415 - as above

        study = self._study.study()
        best = best_record(study, self._study.records()) if study else None
        return self._trial(study, best) if study and best else None

    def _trial(self, study: Study, record: TrialRecord) -> Trial:
        from lyftlearn._studies.space import drawn_values  # noqa: PLC0415 - as above

        return Trial(
            number=record.number,
            hyperparameters={**study.hyperparameters, **drawn_values(study.space, record.draw)},
            objective=record.objective,
            job=self._job(study, record),
            message=record.message,
        )

    def _job(self, study: Study | None, record: TrialRecord) -> Job:
        from lyftlearn._studies.study import LABEL  # noqa: PLC0415 - as above
        from lyftlearn.backend import JobRecord  # noqa: PLC0415 - as above

        return Job(
            self._connection,
            JobRecord(
                id=record.job_id,
                kind=JobKind.TRAIN,
                name=self.name,
                labels={**self.labels, LABEL: self.id},
                digest="",
                decision=self._record.decision,
                event=record.latest,
                outputs=study.output_uris(record.job_id) if study else None,
            ),
        )

    def _why_no_best(self) -> str:
        if self.state.status is JobStatus.FAILED and self.state.reason is not FailureReason.USER_ERROR:
            return self.state.message or "the search failed"
        records = self._study.records()
        ended = [record for record in records if record.end is not None]
        last = next((record.message for record in reversed(ended) if record.message), "")
        told = f"; the last said: {last}" if last else ""
        return f"no trial has succeeded ({len(ended)} of {len(records)} have ended){told}"
