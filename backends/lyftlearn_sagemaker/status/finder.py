"""Finds one job by its id, and many through Search: no other operation selects by tags and returns whole jobs."""

from __future__ import annotations

import json
import logging
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobQuery, JobRecord
from lyftlearn.errors import JobNotFound
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.api.errors import AwsError
from lyftlearn_sagemaker.record import TAG, id_of, is_queued, label_tag, record_of_job
from lyftlearn_sagemaker.status.events import event_of_job
from lyftlearn_sagemaker.status.service_jobs import WAITING, creation_time, training_jobs_of
from lyftlearn_sagemaker.status.shared_lists import pages_of

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient
    from lyftlearn_sagemaker.status.service_jobs import ServiceJobs

_PAGE = 100
_IN_NAME = 20  # characters of a job's name that Batch keeps in those of its training jobs, at least
_BEGINNING = datetime.fromtimestamp(0, UTC)
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

    def __init__(self, aws: AwsClient, service_jobs: ServiceJobs) -> None:
        self._aws = aws
        self.service_jobs = service_jobs

    def record(self, job_id: str) -> JobRecord:
        """Return the record of a job. Raises JobNotFound."""
        return self.job(job_id)[1]

    def recent_record(self, job_id: str) -> JobRecord:
        """Return the record of a job that was submitted a moment ago. Raises JobNotFound. Asks no search."""
        return self._one(job_id, self._in_queue)[1]

    def job(self, job_id: str) -> tuple[Mapping[str, Any], JobRecord]:
        """Return a job as it was sent to SageMaker or is to be, and its record. Raises JobNotFound."""
        return self._one(job_id, self._in_queue_or_left)

    def _one(
        self, job_id: str, in_queue: Callable[[str], tuple[Mapping[str, Any], JobRecord]]
    ) -> tuple[Mapping[str, Any], JobRecord]:
        if self.service_jobs.queues_of(frozenset((job_id,))):
            return in_queue(job_id)
        try:
            job = self._aws.call("sagemaker", "describe_training_job", {"TrainingJobName": job_id})
        except AwsError as exc:
            if not exc.is_missing:
                raise
            return in_queue(job_id)
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
        pools = [job.get("WarmPoolStatus") or {} for job in training_jobs_on(page)]
        return any(pool.get("ReusedByJob") == job["TrainingJobName"] for pool in pools) or None

    def training_jobs(self, job_id: str) -> Sequence[str]:
        """Return the names of the training jobs that a job has had: one, or in a queue one for each attempt.

        Those of a queue are as Batch said last: whoever follows a log polls, which asks anew for what has changed.
        """
        known = self.service_jobs.known_attempts(job_id)
        if known is not None:
            return known
        if not self.service_jobs.queues_of(frozenset((job_id,))):
            return (job_id,)
        service_job = self.service_jobs.find(job_id)
        return training_jobs_of(service_job) if service_job else ()

    def training_jobs_left(self, job_id: str) -> Sequence[str]:
        """Return the names that the training jobs of a job had which SageMaker keeps no more: Batch may know them."""
        service_job = self.service_jobs.find(job_id)
        return (training_jobs_of(service_job) if service_job else ()) or (job_id,)

    def _in_queue_or_left(self, job_id: str) -> tuple[Mapping[str, Any], JobRecord]:
        """Return a job of a queue. Batch forgets those that have ended, and their training jobs stay."""
        try:
            return self._in_queue(job_id)
        except JobNotFound:
            if not self.service_jobs.queues:
                raise
            left = [(job, record) for job in self._left_in_sagemaker(job_id) if (record := _record(job))]
            if not left:
                raise
            self.service_jobs.note_attempts(job_id, [str(job["TrainingJobName"]) for job, _ in reversed(left)])
            return left[0]

    def _left_in_sagemaker(self, job_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the training jobs of a job of a queue, the newest first. Their names begin with Batch's and its own."""
        contained = {"Name": "TrainingJobName", "Operator": "Contains", "Value": f"AWSBatch{job_id[:_IN_NAME]}"}
        request = _newest_first(JobQuery())
        request["SearchExpression"]["Filters"].append(contained)
        for page in pages_of(partial(self._aws.call, "sagemaker", "search"), request):
            yield from (job for job in training_jobs_on(page) if id_of(job) == job_id)

    def _in_queue(self, job_id: str, places: Mapping[str, int] | None = None) -> tuple[Mapping[str, Any], JobRecord]:
        """Return a job that is in a queue, or was: as it is to be sent, or as its latest attempt is; and its record."""
        service_job = self.service_jobs.find(job_id)
        if service_job is None:
            raise JobNotFound(f"{job_id}: SageMaker has no such job")
        training = self.service_jobs.training_job(service_job)
        request = json.loads(service_job["serviceRequestPayload"])
        job = {**request, **(training or {}), "CreationTime": creation_time(service_job)}
        record = record_of_job(job, self.service_jobs.event(service_job, training, places))
        if record is None:
            raise JobNotFound(f"{job_id}: SageMaker has no such job of lyftlearn")
        return job, record

    def search(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first: those in queues among those that SageMaker knows.

        A job of a queue was created when it entered that, whenever its training jobs were: `describe` says the same.
        """
        summaries = {one["jobName"]: one for one in self._summaries(query)}
        queued = sorted(self._search_queues(summaries.values(), query), key=_creation_time, reverse=True)
        known = _by_creation(self._search_training_jobs(query, summaries))
        seen: set[str] = set()
        for record in merge(queued, known, key=_creation_time, reverse=True):
            if record.id not in seen:
                seen.add(record.id)
                yield record

    def _summaries(self, query: JobQuery) -> Iterator[Mapping[str, Any]]:
        for queue in self.service_jobs.queues:
            for summary in self.service_jobs.since(queue, query.since or _BEGINNING):
                self.service_jobs.remember(summary["jobName"], queue, summary["jobId"])
                yield summary

    def _search_queues(self, summaries: Iterable[Mapping[str, Any]], query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs of which no training job has come, nor may ever come, or that wait for their next."""
        places: dict[str, int] | None = None
        for summary in summaries:
            if "latestAttempt" not in summary or summary.get("status") in WAITING:
                if places is None:  # once for all that wait
                    places = self.service_jobs.all_places()
                with suppress(JobNotFound):
                    record = self._in_queue(summary["jobName"], places)[1]
                    if query.matches(record):
                        yield record

    def _search_training_jobs(
        self, query: JobQuery, summaries: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[datetime, JobRecord]]:
        """Yield the matching jobs, each after the creation of its training job, newest training job first."""
        request = _newest_first(query)
        while True:
            page = self._aws.call("sagemaker", "search", request)
            for job in training_jobs_on(page):
                record = self._matching(job, query, summaries)
                if record:
                    yield job["CreationTime"], record
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]

    def _matching(
        self, job: Mapping[str, Any], query: JobQuery, summaries: Mapping[str, Mapping[str, Any]]
    ) -> JobRecord | None:
        record = _record(job)
        if record and is_queued(job):
            record = self._as_queued(record, query, summaries.get(record.id))
        return record if record and query.matches(record) else None

    def _as_queued(self, record: JobRecord, query: JobQuery, summary: Mapping[str, Any] | None) -> JobRecord:
        """Return the record of a training job as its queue has it: another attempt may follow its end.

        A job that is in no summary has left its queue long ago, or entered it before what is asked for.
        """
        if record.event.status.finished or (query.since and summary is None):
            with suppress(JobNotFound):
                return self._in_queue(record.id)[1]
        if summary is None:
            return record
        return replace(record, event=replace(record.event, created_at=creation_time(summary)))


def training_jobs_on(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the training jobs of a page of Search; one that cannot be read beside them is nothing."""
    return (result["TrainingJob"] for result in page.get("Results", []) if result.get("TrainingJob"))


def _by_creation(found: Iterable[tuple[datetime, JobRecord]]) -> Iterator[JobRecord]:
    """Yield newest job first what comes newest training job first, and was created then or before."""
    held: list[tuple[datetime, int, JobRecord]] = []
    for number, (latest, record) in enumerate(found):
        insort(held, (_creation_time(record), -number, record))
        while held and held[-1][0] >= latest:
            yield held.pop()[-1]
    for _, _, record in reversed(held):
        yield record


def _creation_time(record: JobRecord) -> datetime:
    return record.event.created_at or record.event.at


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
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
        _log.warning("%s: what SageMaker keeps of it cannot be read: %s", job.get("TrainingJobName"), exc)
        return None


def _expression(query: JobQuery) -> dict[str, Any]:
    """Return a search that finds at least what is asked for; `JobQuery.matches` decides."""
    tags = {f"{TAG}name": query.name, f"{TAG}kind": str(query.kind) if query.kind else None}
    tags |= {label_tag(key): value or None for key, value in query.labels.items()}
    filters = [_equals(f"Tags.{key}", value) for key, value in tags.items() if value is not None][:_MOST_TAGS]
    filters.append({"Name": f"Tags.{TAG}digest", "Operator": "Exists"})
    if query.since:
        moment = query.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").zfill(19)  # the only form that Search takes
        filters.append({"Name": "CreationTime", "Operator": "GreaterThanOrEqualTo", "Value": moment})
    if query.status:
        filters.append({"Name": "TrainingJobStatus", "Operator": "In", "Value": ",".join(_PRIMARY[query.status])})
    return {"Filters": filters, "Operator": "And"}


def _equals(name: str, value: str) -> dict[str, str]:
    return {"Name": name, "Operator": "Equals", "Value": value}
