"""From what SageMaker says of a job to an event."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from lyftlearn.backend import read_idle, read_report, words
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_sagemaker.record import ATTEMPT_METRIC, field_of, id_of

RESTARTING = frozenset(("Interrupted", "Restarting"))
"""Secondary statuses that mean: the infrastructure starts the job again."""
STATUS_BY_SECONDARY = {
    "Pending": JobStatus.PENDING,
    "Starting": JobStatus.PENDING,
    "LaunchingMLInstances": JobStatus.PENDING,
    "PreparingTrainingStack": JobStatus.STARTING,
    "Downloading": JobStatus.STARTING,
    "DownloadingTrainingImage": JobStatus.STARTING,
    "Training": JobStatus.RUNNING,
    "Updating": JobStatus.RUNNING,
    "Uploading": JobStatus.RUNNING,
    "Interrupted": JobStatus.STARTING,
    "Restarting": JobStatus.STARTING,
}
_BEGUN = frozenset((JobStatus.STARTING, JobStatus.RUNNING))
_ENDS = frozenset(("Completed", "Failed", "Stopped"))
_NOTHING_THERE = re.compile(r'No S3 objects found under S3 URL "([^"]+)"')
_NO_DIRECTORY = re.compile(
    r"Unable to mount file system: (\S+), directory path: (\S+)\. No such file or directory"
)  # as published in 2022: https://www.sobyte.net/post/2022-05/speed-up-amazon-sagemaker-training-using-efs-or-fsx-lustre/
_FULL = re.compile(r"insufficient disk space|no space left on device", re.IGNORECASE)
_NOT_STARTED = (126, 127)  # of a container whose entrypoint cannot be executed, or is not there
_EXIT_CODE = re.compile(r",? *exit code: *(\d+)\s*$")

# What SageMaker writes into FailureReason where the runtime had no word; the first that fits.
_REASONS = (
    (r"No S3 objects found", FailureReason.CONFIGURATION),
    (r"capacity|InsufficientInstance|MaxPendingTime|ResourceLimitExceeded|service limit", FailureReason.CAPACITY),
    (r"InternalServerError|internal error", FailureReason.PLATFORM),
    (r"out of memory|OutOfMemory|more memory|exit code: 137\b", FailureReason.OUT_OF_MEMORY),
    (r"\bimage\b|\bECR\b|CannotPull|CannotStartContainer|executable file not found|exec format", FailureReason.IMAGE),
    (r"AccessDenied|not authorized|assume|\brole\b|\bKMS\b", FailureReason.CONFIGURATION),
    (r"NoSuch(Key|Bucket)|(down|up)load failed|ClientError", FailureReason.CONFIGURATION),
    (r"AlgorithmError|exit code", FailureReason.USER_ERROR),
)  # fmt: skip


def event_of_job(job: Mapping[str, Any]) -> JobEvent:
    """Return the event of what Describe, Search or EventBridge text."""
    secondary, transitions = job.get("SecondaryStatus", ""), job.get("SecondaryStatusTransitions", [])
    incarnation = _restarts([transition["Status"] for transition in transitions])
    if job["TrainingJobStatus"] in _ENDS:
        return _final_event(job, incarnation)
    message = transitions[-1].get("StatusMessage", "") if transitions else ""
    return JobEvent(
        job_id=id_of(job),
        status=status_of(job["TrainingJobStatus"], secondary, message, incarnation),
        at=_time(job, "LastModifiedTime", "CreationTime"),
        incarnation=incarnation,
        message=message,
        created_at=_time(job, "CreationTime"),
        started_at=_time(job, "TrainingStartTime") if job.get("TrainingStartTime") else None,
    )


def _restarts(secondary: Sequence[str]) -> int:
    """Return how often the infrastructure began the job anew, with a word for it or without.

    Between two periods of reserved capacity a job is Pending again (botocore, StoppingCondition).
    """
    named = sum(status in RESTARTING for status in secondary)
    return named + sum(_is_fallback(before, after) for before, after in pairwise(secondary))


def _is_fallback(before: str, after: str) -> bool:
    waits = STATUS_BY_SECONDARY.get(after) is JobStatus.PENDING
    return waits and before not in RESTARTING and STATUS_BY_SECONDARY.get(before) in _BEGUN


def event_of_summary(summary: Mapping[str, Any], incarnation: int) -> JobEvent:
    """Return the event of a line of ListTrainingJobs; only for jobs that have not ended, whose end it does not tell."""
    return JobEvent(
        job_id=summary["TrainingJobName"],
        status=status_of(summary["TrainingJobStatus"], summary.get("SecondaryStatus", ""), "", incarnation),
        at=_time(summary, "LastModifiedTime", "CreationTime"),
        incarnation=incarnation,
        created_at=_time(summary, "CreationTime"),
    )


def has_ended(summary: Mapping[str, Any]) -> bool:
    """Whether a job will not change any more."""
    return summary["TrainingJobStatus"] in _ENDS


def status_of(primary: str, secondary: str, message: str, incarnation: int) -> JobStatus:
    """Return the status of a job that has not ended. Once it ran, waiting for capacity again is starting again."""
    if primary in ("Stopping", "Deleting") or secondary == "Stopping":
        return JobStatus.STOPPING
    status = STATUS_BY_SECONDARY.get(secondary, JobStatus.PENDING)
    if status is JobStatus.PENDING and (incarnation or "Preparing the instances" in message):
        return JobStatus.STARTING
    return status


def from_event_bridge(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `detail` of a state change as Describe would say it: its times are milliseconds since 1970."""
    job = {key: _moment(value) if key.endswith("Time") else value for key, value in detail.items()}
    job["SecondaryStatusTransitions"] = [
        {key: _moment(value) if key.endswith("Time") else value for key, value in transition.items()}
        for transition in detail.get("SecondaryStatusTransitions") or []
    ]
    return job


@dataclass(frozen=True)
class _Ending:
    """How a job ended."""

    status: JobStatus
    reason: FailureReason | None = None
    message: str = ""
    exit_code: int | None = None
    attempt: int = 1


def _final_event(job: Mapping[str, Any], incarnation: int) -> JobEvent:
    ending = _ending(job)
    return JobEvent(
        job_id=id_of(job),
        status=ending.status,
        at=_time(job, "TrainingEndTime", "LastModifiedTime", "CreationTime"),
        incarnation=incarnation,
        attempt=max(ending.attempt, _attempt(job)),
        reason=ending.reason,
        message=ending.message,
        exit_code=ending.exit_code,
        created_at=_time(job, "CreationTime"),
        started_at=_time(job, "TrainingStartTime") if job.get("TrainingStartTime") else None,
    )


def _ending(job: Mapping[str, Any]) -> _Ending:
    if job["TrainingJobStatus"] == "Completed":
        return _Ending(JobStatus.SUCCEEDED, exit_code=0)
    if job["TrainingJobStatus"] == "Failed":
        return _failure(job)
    return _stop(job)


def _stop(job: Mapping[str, Any]) -> _Ending:
    """Return what SageMaker calls Stopped: somebody's wish, or a limit that the job met."""
    if job.get("SecondaryStatus") == "MaxRuntimeExceeded":
        message = "SageMaker's own time limit for the job was reached"
        return _Ending(JobStatus.FAILED, FailureReason.TIMEOUT, message)
    if job.get("SecondaryStatus") == "MaxWaitTimeExceeded":
        reason = FailureReason.PREEMPTED if job.get("TrainingStartTime") else FailureReason.CAPACITY
        return _Ending(JobStatus.FAILED, reason, "no spot capacity became free in time")
    if _waited_too_long(job):
        return _without_capacity(job)
    if _outlived_its_plan(job):
        return _Ending(JobStatus.FAILED, FailureReason.PREEMPTED, words.CAPACITY_ENDED)
    return _Ending(JobStatus.STOPPED, message=words.STOP_REQUESTED)


def _waited_too_long(job: Mapping[str, Any]) -> bool:
    """Whether a stopped job met its limit on waiting: no source says by what SageMaker tells it from a stop.

    Of a training plan, the time before it begins does not count, so that a stop may come long after the limit.
    """
    limit = _pending_limit(job)
    if limit is None or job.get("TrainingStartTime"):
        return False
    waited = _time(job, "TrainingEndTime", "LastModifiedTime", "CreationTime") - _time(job, "CreationTime")
    has_plan = has_training_plan(job.get("ResourceConfig", {}))
    return waited >= limit and not has_plan if _is_stopping(job) else waited >= limit or not has_plan


def _without_capacity(job: Mapping[str, Any]) -> _Ending:
    limit = _pending_limit(job)
    message = words.no_capacity(limit) if limit else job.get("FailureReason", "")
    return _Ending(JobStatus.FAILED, FailureReason.CAPACITY, message)


def _pending_limit(job: Mapping[str, Any]) -> timedelta | None:
    seconds = job.get("StoppingCondition", {}).get("MaxPendingTimeInSeconds")
    return timedelta(seconds=int(seconds)) if seconds else None


def _outlived_its_plan(job: Mapping[str, Any]) -> bool:
    """Whether a job with reserved capacity was stopped, and by nobody's wish."""
    resources = job.get("ResourceConfig", {})
    return has_training_plan(resources) and not _is_stopping(job)


def has_training_plan(resources: Mapping[str, Any]) -> bool:
    """Whether a job's resources come from a training plan."""
    preferences = resources.get("InstancePreferences") or []
    return "TrainingPlanArn" in resources or any("TrainingPlanArns" in one for one in preferences)


def _is_stopping(job: Mapping[str, Any]) -> bool:
    """Whether somebody asked for the job to stop."""
    return any(transition["Status"] == "Stopping" for transition in job.get("SecondaryStatusTransitions") or [])


def _failure(job: Mapping[str, Any]) -> _Ending:
    """Read the runtime's report out of FailureReason; where there is none, read what SageMaker says by itself."""
    text = job.get("FailureReason", "")
    report = read_report(text)
    if report is None:
        return _unreported_failure(job, text)
    if read_idle(text):
        return _Ending(JobStatus.STOPPED, message=_EXIT_CODE.sub("", report.message).strip(), attempt=report.attempt)
    if report.status is JobStatus.STOPPED and _is_stopping(job):
        return _Ending(JobStatus.STOPPED, message=words.STOP_REQUESTED, attempt=report.attempt)
    if report.status is JobStatus.STOPPED:
        return _ended_by_nobodys_wish(job, text, report.attempt)
    reason, message = report.reason or FailureReason.USER_ERROR, _EXIT_CODE.sub("", report.message).strip()
    return _Ending(JobStatus.FAILED, reason, message, report.exit_code, report.attempt)


def _ended_by_nobodys_wish(job: Mapping[str, Any], text: str, attempt: int) -> _Ending:
    """Return the end of a job that was told to stop: by SageMaker where another node failed, or from within."""
    reason = FailureReason.USER_ERROR
    if job.get("ResourceConfig", {}).get("InstanceCount") == 1:
        return _Ending(JobStatus.FAILED, reason, words.SIGNALLED, _exit_code(text), attempt)
    return _Ending(JobStatus.FAILED, reason, "a node was ended because another one failed", attempt=attempt)


def _unreported_failure(job: Mapping[str, Any], text: str) -> _Ending:
    exit_code = _exit_code(text)
    if exit_code in _NOT_STARTED:
        return _Ending(JobStatus.FAILED, FailureReason.IMAGE, _no_python(job))
    if "MaxPendingTime" in text:
        return _without_capacity(job)
    return _Ending(JobStatus.FAILED, classify(text), translate_failure(job, text), exit_code)


def translate_failure(job: Mapping[str, Any], text: str) -> str:
    """Return FailureReason; an input that is not there is told as the runtime tells it where it fetches by itself."""
    if missing := _NOTHING_THERE.search(text):
        return _missing_input(job, {"S3Uri": missing[1]}, missing[1]) or text
    if missing := _NO_DIRECTORY.search(text):
        source = {"FileSystemId": missing[1], "DirectoryPath": missing[2]}
        return _missing_input(job, source, f"{missing[2]} of the file system {missing[1]}") or text
    return f"it needed more disk than resources.disk: {text}" if _FULL.search(text) else text


def _missing_input(job: Mapping[str, Any], source: Mapping[str, str], place: str) -> str | None:
    """Return what is said of the channel that has this source."""
    for channel in job.get("InputDataConfig") or []:
        if any(source.items() <= of.items() for of in channel["DataSource"].values()):
            return f"{field_of(channel['ChannelName'])}: nothing is at {place}"
    return None


def _no_python(job: Mapping[str, Any]) -> str:
    """Return what to do where the runtime did not start: it would have reported whatever the command did."""
    python = next(iter(job.get("AlgorithmSpecification", {}).get("ContainerEntrypoint", [])), "python3")
    return f"the image has no {python}, or it cannot be executed: take an image with Python, or set [sagemaker] python"


def classify(text: str) -> FailureReason:
    """Return why a job failed whose runtime could not say it."""
    return next((why for pattern, why in _REASONS if re.search(pattern, text, re.IGNORECASE)), FailureReason.PLATFORM)


def _exit_code(text: str) -> int | None:
    match = _EXIT_CODE.search(text)
    return int(match[1]) if match else None


def _attempt(job: Mapping[str, Any]) -> int:
    """Return the last attempt whose start the runtime noted in the log, where SageMaker read it as a metric."""
    attempts = [
        metric.get("Value", 1)
        for metric in job.get("FinalMetricDataList") or []
        if metric.get("MetricName") == ATTEMPT_METRIC
    ]
    return int(max(attempts, default=1))


def _time(job: Mapping[str, Any], *names: str) -> datetime:
    moment: datetime | None = next((job[name] for name in names if job.get(name)), None)
    if moment is None:
        raise ValueError(f"none of {', '.join(names)} is known")
    return moment.astimezone(UTC)


def _moment(value: Any) -> Any:
    return datetime.fromtimestamp(int(value) / 1000, UTC) if value else None
