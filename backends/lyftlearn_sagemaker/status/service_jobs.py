"""Jobs in a queue of AWS Batch: service jobs, each of whose attempts is a training job with a name of Batch's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import words
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_sagemaker.api.errors import AwsError
from lyftlearn_sagemaker.record import FROM_SAGEMAKER
from lyftlearn_sagemaker.status.events import classify, event_of_job

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

WAITING = frozenset(("SUBMITTED", "PENDING", "RUNNABLE"))
ENDS = frozenset(("SUCCEEDED", "FAILED"))
_PAGE = 100
_MOST_REMEMBERED = 20_000
_BLOCKED = ("CAPACITY:", "MISCONFIGURATION:")
"""How reasons begin for which a job holds up its queue: AWS Batch User Guide, "Jobs stuck in a RUNNABLE status"."""
_EXPIRED = "Terminated by JobStateTimeLimit action"  # the same page, of a queue that waits for no job longer than so
_PREEMPTED = "other jobs took its place in the queue as often as its configuration lets them"
_ATTEMPT = 1000  # of the numbers of incarnations, each attempt has so many: its own restarts come within


class ServiceJobs:
    """Finds service jobs in the queues of the configuration. Batch's own ids are remembered."""

    def __init__(self, aws: AwsClient, queues: Sequence[str]) -> None:
        self._aws = aws
        self.queues = queues
        self._ids: dict[str, str] = {}
        self._queues: dict[str, str] = {}
        self._starts: dict[str, datetime | None] = {}
        self._attempts: dict[str, Sequence[str]] = {}

    def remember(self, job_id: str, queue: str, batch_id: str) -> None:
        """Note where a job is."""
        if len(self._ids) >= _MOST_REMEMBERED:
            self._ids.clear()
            self._queues.clear()
            self._attempts.clear()
        self._ids[job_id], self._queues[job_id] = batch_id, queue

    def queues_of(self, job_ids: frozenset[str]) -> Mapping[str, str]:
        """Return those of the jobs that are known to be in a queue, each with its queue."""
        return {job_id: queue for job_id, queue in self._queues.items() if job_id in job_ids}

    def find(self, job_id: str) -> Mapping[str, Any] | None:
        """Return what Batch says of a job, None if it is in no queue."""
        if job_id not in self._ids:
            for queue in self.queues:
                for summary in self.summaries(queue, "JOB_NAME", job_id):
                    if summary["jobName"] == job_id:  # the filter ignores case
                        self.remember(job_id, queue, summary["jobId"])
        return self._known_job(job_id) if job_id in self._ids else None

    def _known_job(self, job_id: str) -> Mapping[str, Any] | None:
        """Return what Batch says of a job whose id there is known; None if Batch has forgotten it."""
        try:
            return self.describe(self._ids[job_id])
        except AwsError as exc:
            if exc.code != "ClientException":
                raise
            del self._ids[job_id], self._queues[job_id]
            return None

    def note_attempts(self, job_id: str, names: Sequence[str]) -> None:
        """Note the names of a job's training jobs."""
        self._attempts[job_id] = names

    def describe(self, batch_id: str) -> Mapping[str, Any]:
        """Return what Batch says of one service job."""
        described: Mapping[str, Any] = self._aws.call("batch", "describe_service_job", {"jobId": batch_id})
        self._attempts[described["jobName"]] = training_jobs_of(described)
        return described

    def known_attempts(self, job_id: str) -> Sequence[str] | None:
        """Return the names of a job's training jobs as Batch said last; None if it was not asked yet."""
        return self._attempts.get(job_id)

    def since(self, queue: str, moment: datetime) -> Iterator[Mapping[str, Any]]:
        """Yield a line for each job that entered a queue at `moment` or later, newest first."""
        before = max(0, int(moment.timestamp() * 1000) - 1)
        return self.summaries(queue, "AFTER_CREATED_AT", str(before))

    def summaries(self, queue: str, name: str, value: str) -> Iterator[Mapping[str, Any]]:
        """Yield a line for each job of a queue that one filter selects, whatever its status."""
        request = {"jobQueue": queue, "maxResults": _PAGE, "filters": [{"name": name, "values": [value]}]}
        while True:
            page = self._aws.call("batch", "list_service_jobs", request)
            yield from page["jobSummaryList"]
            if not page.get("nextToken"):
                return
            request["nextToken"] = page["nextToken"]

    def places(self, queue: str) -> Mapping[str, int]:
        """Return the place of each of the first hundred waiting jobs, by ARN; the first has place 1."""
        snapshot = self._aws.call("batch", "get_job_queue_snapshot", {"jobQueue": queue})
        front = snapshot.get("frontOfQueue", {}).get("jobs", [])
        return {job.get("jobArn", ""): place for place, job in enumerate(front, start=1)}

    def all_places(self) -> dict[str, int]:
        """Return the places in every queue."""
        return {arn: place for queue in self.queues for arn, place in self.places(queue).items()}

    def training_job(self, service_job: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what SageMaker says of the latest attempt, None while a job waits in its queue."""
        name = None if service_job["status"] in WAITING else training_job_of(service_job)
        return None if name is None else self._description(name)

    def _description(self, name: str) -> Mapping[str, Any] | None:
        """Return what SageMaker says of a training job; None if it was deleted.

        Batch itself deletes those that found no capacity, all but the last: AWS Batch User Guide, "Service job retry
        strategies".
        """
        try:
            described: Mapping[str, Any] = self._aws.call(
                "sagemaker", "describe_training_job", {"TrainingJobName": name}
            )
        except AwsError as exc:
            if not exc.is_missing:
                raise
            return None
        return described

    def event(
        self,
        service_job: Mapping[str, Any],
        training: Mapping[str, Any] | None,
        places: Mapping[str, int] | None = None,
    ) -> JobEvent:
        """Return the event of a service job: while it waits by its place, then by its training job."""
        if places is None and service_job["status"] == "RUNNABLE":
            places = self.places(_last(service_job["jobQueue"]))
        event = event_of(service_job, training, (places or {}).get(service_job.get("jobArn", "")))
        return replace(event, started_at=self._first_start(service_job, training) or event.started_at)

    def _first_start(self, service_job: Mapping[str, Any], training: Mapping[str, Any] | None) -> datetime | None:
        """Return when an attempt before `training` began first; None if none did."""
        latest = training["TrainingJobName"] if training else None
        earlier = [name for name in training_jobs_of(service_job) if name != latest]
        return next(filter(None, map(self._start_of, earlier)), None)

    def _start_of(self, name: str) -> datetime | None:
        """Return when an attempt that is over began. That does not change any more, so it is asked for once."""
        if name not in self._starts:
            if len(self._starts) >= _MOST_REMEMBERED:
                self._starts.clear()
            described = self._description(name)
            self._starts[name] = event_of_job(described).started_at if described else None
        return self._starts[name]

    def terminate(self, job_id: str) -> bool:
        """Ask a job to stop, wherever in its queue it is; False if it is in none."""
        service_job = self.find(job_id)
        if service_job is None:
            return False
        if service_job["status"] not in ENDS:
            request = {"jobId": service_job["jobId"], "reason": words.STOP_REQUESTED}
            self._aws.call("batch", "terminate_service_job", request)
        return True


def training_job_of(service_job: Mapping[str, Any]) -> str | None:
    """Return the name of the training job of the latest attempt, None before the first one."""
    resource = service_job.get("latestAttempt", {}).get("serviceResourceId")
    return _last(resource["value"]) if resource and resource.get("value") else None


def training_jobs_of(service_job: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the training jobs of every attempt, in their order."""
    resources = (attempt.get("serviceResourceId") for attempt in service_job.get("attempts", []))
    names = [_last(resource["value"]) for resource in resources if resource and resource.get("value")]
    latest = training_job_of(service_job)
    return tuple(dict.fromkeys([*names, *([latest] if latest else [])]))


def event_of(service_job: Mapping[str, Any], training: Mapping[str, Any] | None, place: int | None) -> JobEvent:
    """Return the event of a service job and the training job of its latest attempt."""
    if training is not None:
        return _attempt_event(service_job, training)
    event = _queue_event(service_job, place)
    return _ended_in_queue(service_job, event) if service_job["status"] in ENDS else event


def _queue_event(service_job: Mapping[str, Any], place: int | None) -> JobEvent:
    created, queue = creation_time(service_job), _last(service_job["jobQueue"])
    stopping = service_job.get("isTerminated")
    where = words.place_in_queue(place, queue) if place else f"waits in queue {queue}"
    why = service_job.get("statusReason", "")
    return JobEvent(
        job_id=service_job["jobName"],
        status=JobStatus.STOPPING if stopping else JobStatus.PENDING,
        at=max(created, *(_time(one["stoppedAt"]) for one in _ended_attempts(service_job)), created),
        incarnation=_ATTEMPT * len(_ended_attempts(service_job)),
        message=f"{where}; {why}" if why.startswith(_BLOCKED) else where,
        created_at=created,
    )


def _attempt_event(service_job: Mapping[str, Any], training: Mapping[str, Any]) -> JobEvent:
    """Return the training job's event. That an attempt failed is no end before Batch says that none follows."""
    event = event_of_job(training)
    latest = str(training["TrainingJobName"])
    earlier = [name for name in training_jobs_of(service_job) if name != latest]
    event = replace(
        event,
        job_id=service_job["jobName"],
        incarnation=_ATTEMPT * len(earlier) + event.incarnation,
        created_at=creation_time(service_job),
    )
    over = service_job["status"] in ENDS or event.status is JobStatus.SUCCEEDED
    if event.status.finished and not over:
        status = JobStatus.RUNNING if event.started_at else JobStatus.PENDING  # one that found no capacity never ran
        status = JobStatus.STOPPING if service_job.get("isTerminated") else status
        return replace(event, status=status, reason=None, message="", exit_code=None)
    if event.status is JobStatus.FAILED and event.exit_code is None and service_job.get("isTerminated"):
        return replace(event, status=JobStatus.STOPPED, reason=None, message=words.STOP_REQUESTED)
    if event.status is JobStatus.STOPPED and latest in _preempted_jobs_of(service_job):
        return replace(event, status=JobStatus.FAILED, reason=FailureReason.PREEMPTED, message=_PREEMPTED)
    return event


def _preempted_jobs_of(service_job: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the training jobs that Batch stopped last to make room for other jobs of quota shares."""
    attempts = service_job.get("preemptionSummary", {}).get("recentPreemptedAttempts", [])
    return tuple(_last(attempt.get("serviceResourceId", {}).get("value", "")) for attempt in attempts)


def _ended_in_queue(service_job: Mapping[str, Any], event: JobEvent) -> JobEvent:
    """Return the end of a job of which no training job came, or none is left."""
    at = _time(service_job["stoppedAt"]) if service_job.get("stoppedAt") else event.at
    text = service_job.get("statusReason", "").removeprefix(FROM_SAGEMAKER).strip()
    if service_job["status"] == "SUCCEEDED":
        return replace(event, status=JobStatus.SUCCEEDED, at=at, message="", exit_code=0)
    if text.startswith(_EXPIRED):
        return replace(event, status=JobStatus.FAILED, at=at, reason=FailureReason.CAPACITY, message=text)
    if service_job.get("isTerminated"):
        return replace(event, status=JobStatus.STOPPED, at=at, message=words.STOP_REQUESTED)
    reason = FailureReason.CONFIGURATION if "ValidationException" in text else classify(text)
    return replace(event, status=JobStatus.FAILED, at=at, reason=reason, message=text)


def _ended_attempts(service_job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [attempt for attempt in service_job.get("attempts", []) if attempt.get("stoppedAt")]


def creation_time(service_job: Mapping[str, Any]) -> datetime:
    """Return when a job entered its queue."""
    return _time(service_job.get("createdAt") or service_job.get("startedAt") or 0)


def _time(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
