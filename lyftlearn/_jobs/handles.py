"""Which handle a job of each kind has."""

from __future__ import annotations

from lyftlearn._jobs.job import Job, Notebook
from lyftlearn._jobs.tuning import TuningJob
from lyftlearn.types import JobKind

HANDLES: dict[JobKind, type[Job]] = {JobKind.TUNE: TuningJob, JobKind.NOTEBOOK: Notebook}
