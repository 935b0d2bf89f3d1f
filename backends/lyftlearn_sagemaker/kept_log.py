"""The log of a job that SageMaker keeps no more: CloudWatch has it for as long as its group keeps what it gets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn.backend import KeptLog
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.api.errors import translate_errors
from lyftlearn_sagemaker.log_text import Writing
from lyftlearn_sagemaker.logs import GROUP, LoggedJob, LogReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lyftlearn.backend import LogLine, LogQuery
    from lyftlearn_sagemaker.api.client import AwsClient

_LONG_AGO = datetime.fromtimestamp(0, UTC)


def kept_log(aws: AwsClient, job_id: str, training_jobs: Sequence[str], query: LogQuery) -> KeptLog | None:
    """Return what CloudWatch has of a job, None if it has no stream of it.

    The job's environment said how its runtime writes, and is gone: it is read as runtimes since version 1.1 write.
    """
    end = JobEvent(job_id=job_id, status=JobStatus.SUCCEEDED, at=_LONG_AGO)
    job = LoggedJob(job_id, lambda: training_jobs, 1, Writing.MARKED, lambda _: end)
    reader = LogReader(aws, job, query, settle=0)
    with translate_errors(job_id):
        return KeptLog(f"CloudWatch, in {GROUP},", _read_lines(job_id, reader)) if reader.has_streams() else None


def _read_lines(job_id: str, reader: LogReader) -> Iterator[LogLine]:
    with translate_errors(job_id):
        yield from reader.lines()
