"""Finds one job by its id, and many through Search: no other operation selects by tags and returns whole jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobQuery, JobRecord
from lyftlearn.errors import JobNotFound
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.api.errors import AwsError
from lyftlearn_sagemaker.record import TAG, label_tag, record_of_job
from lyftlearn_sagemaker.status.events import event_of_job

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

_PAGE = 100
_log = logging.getLogger("lyftlearn")
_MOST_TAGS = 15  # of the 20 conditions that Search takes
_PRIMARY = {
    JobStatus.PENDING: ("InProgress",),
    JobStatus.STARTING: ("InProgress",),
    JobStatus.RUNNING: ("InProgress",),
    JobStatus.STOPPING: ("InProgress", "Stopping"),
    JobStatus.SUCCEEDED: ("Completed",),
    JobStatus.FAILED: ("Failed", "Stopped"),  # a timeout of SageMaker's own is Stopped there
    JobStatus.STOPPED: ("Failed", "Stopped"),
}


class Finder:
    """Finds the training jobs that lyftlearn submitted."""

    def __init__(self, aws: AwsClient) -> None:
        self._aws = aws

    def record(self, job_id: str) -> JobRecord:
        """Return the record of a job. Raises JobNotFound."""
        return self.job(job_id)[1]

    def job(self, job_id: str) -> tuple[Mapping[str, Any], JobRecord]:
        """Return a job as SageMaker describes it, and its record. Raises JobNotFound."""
        try:
            job = self._aws.call("sagemaker", "describe_training_job", {"TrainingJobName": job_id})
        except AwsError as exc:
            if not exc.is_missing:
                raise
            raise JobNotFound(f"{job_id}: SageMaker has no such job") from exc.__cause__
        record = _record(job)
        if record is None or job["TrainingJobStatus"] == "Deleting":
            raise JobNotFound(f"{job_id}: SageMaker has no such job of lyftlearn")
        return job, record

    def is_warm(self, job: Mapping[str, Any], record: JobRecord) -> bool | None:
        """Return True if a job took over the instances of an earlier one of its name; None where nothing tells so.

        SageMaker notes it with the earlier job: https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html
        """
        if "KeepAlivePeriodInSeconds" not in job["ResourceConfig"]:
            return None
        page = self._aws.call("sagemaker", "search", _newest_first(JobQuery(name=record.name)))
        pools = [result["TrainingJob"].get("WarmPoolStatus") or {} for result in page.get("Results", [])]
        return any(pool.get("ReusedByJob") == record.id for pool in pools) or None

    def search(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first."""
        request = _newest_first(query)
        while True:
            page = self._aws.call("sagemaker", "search", request)
            for result in page.get("Results", []):
                record = _matching(result["TrainingJob"], query)
                if record:
                    yield record
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]


def _newest_first(query: JobQuery) -> dict[str, Any]:
    """Return the request for the first page of the matching jobs."""
    return {
        "Resource": "TrainingJob",
        "SearchExpression": _expression(query),
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": _PAGE,
    }


def _record(job: Mapping[str, Any]) -> JobRecord | None:
    """Return the record of a job, or None if lyftlearn did not submit it, or if it cannot be read, which is logged."""
    try:
        return record_of_job(job, event_of_job(job))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        _log.warning("%s: what SageMaker keeps of it cannot be read: %s", job.get("TrainingJobName"), exc)
        return None


def _matching(job: Mapping[str, Any], query: JobQuery) -> JobRecord | None:
    record = _record(job)
    return record if record and query.matches(record) else None


def _expression(query: JobQuery) -> dict[str, Any]:
    """Return a search that finds at least what is asked for; `JobQuery.matches` decides."""
    tags = {f"{TAG}name": query.name, f"{TAG}kind": str(query.kind) if query.kind else None}
    tags |= {label_tag(key): value or None for key, value in query.labels.items()}
    filters = [_equals(f"Tags.{key}", value) for key, value in tags.items() if value is not None][:_MOST_TAGS]
    filters.append({"Name": f"Tags.{TAG}digest", "Operator": "Exists"})
    if query.since:
        moment = query.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")  # the only form that Search takes
        filters.append({"Name": "CreationTime", "Operator": "GreaterThanOrEqualTo", "Value": moment})
    if query.status:
        filters.append({"Name": "TrainingJobStatus", "Operator": "In", "Value": ",".join(_PRIMARY[query.status])})
    return {"Filters": filters, "Operator": "And"}


def _equals(name: str, value: str) -> dict[str, str]:
    return {"Name": name, "Operator": "Equals", "Value": value}
