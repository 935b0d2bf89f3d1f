"""AWS Batch's queues for training jobs: service jobs wait until their queue has room, then become training jobs.

What is refused, and how training jobs are called: botocore's model of Batch, its documentation, and the AWS Batch User
Guide, "Service jobs". No source says how a second submission with one client token is answered: it is rejected, or the
first one's answer is given again.

What becomes of a job without capacity, and that its earlier training jobs are deleted: the guide's "Service job retry
strategies" and "Jobs stuck in RUNNABLE due to capacity". A quota of the account is no capacity: the guide lists
`ResourceLimitExceeded` among the status reasons of failed jobs, and jobs with one attempt were seen to fail by it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader

from .faults import Refused
from .jobs import ENDS
from .resources import count_of
from .validation import check_shape

if TYPE_CHECKING:
    from . import Conduct
    from .jobs import Jobs
    from .operations import Operations

ACCOUNT, REGION = "123456789012", "us-east-1"
FROM_SAGEMAKER = "Received status from SageMaker: "
"""As the guide has it. The constants of the `sagemaker` SDK have no space there."""
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
WAITS = f"{NO_CAPACITY} - Unable to provision requested compute resources"
EXPIRED = "Terminated by JobStateTimeLimit action due to reason: "
_STEP = 0.02
_LONGEST_NAME = 23  # of a job's, in the name of its training job: that has 63, and the prefix and the digest take 40


@cache
def model() -> dict[str, Any]:
    """Return botocore's model of Batch."""
    loaded: dict[str, Any] = Loader().load_service_model("batch", "service-2")
    return loaded


@cache
def operations_by_path() -> dict[str, str]:
    """Return the operation that each path of the REST protocol asks for."""
    return {operation["http"]["requestUri"]: name for name, operation in model()["operations"].items()}


class Batch:
    """Every queue that the conduct names, and its jobs."""

    def __init__(self, conduct: Conduct, jobs: Jobs, operations: Operations) -> None:
        self._conduct = conduct
        self._training = jobs
        self._sagemaker = operations
        self._lock = threading.RLock()
        self._jobs: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, str] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._schedule, daemon=True, name="batch")
        self._thread.start()

    def serve(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or raise Refused."""
        method: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, f"_{operation}", None)
        if method is None:
            raise Refused("ClientException", f"{operation} is not served")
        check_shape(model(), model()["operations"][operation]["input"]["shape"], request, "ClientException")
        with self._lock:
            return method(request)

    def clear(self) -> None:
        """Forget every job."""
        with self._lock:
            self._jobs.clear()
            self._tokens.clear()

    def close(self) -> None:
        """End the scheduler."""
        self._closing.set()
        self._thread.join()

    def expire(self, job_name: str, reason: str, *, as_termination: bool) -> None:
        """End a waiting job as `jobStateTimeLimitActions` do. No source says whether that sets `isTerminated`."""
        with self._lock:
            (job,) = (one for one in self._jobs.values() if one["jobName"] == job_name)
            job |= {"isTerminated": True} if as_termination else {}
            self._end(job, "FAILED", EXPIRED + reason)

    def preempt(self, job_name: str, *, finally_: bool) -> None:
        """Stop a job of a quota share for another: it waits anew, or has been preempted as often as it may be."""
        with self._lock:
            (job,) = (one for one in self._jobs.values() if one["jobName"] == job_name)
            training = self._training_of(job)
            training.stop()
            job["_preempted"] = finally_

    def _SubmitServiceJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_submission(request)
        token = request.get("clientToken", str(uuid.uuid4()))
        if token in self._tokens:
            job = self._jobs[self._tokens[token]]
            if self._conduct.rejects_repeats or json.loads(job["serviceRequestPayload"]) != json.loads(
                request["serviceRequestPayload"]
            ):
                raise Refused("ClientException", "A service job with this clientToken was already submitted")
            return _named(job)
        job_id, queue = str(uuid.uuid4()), _name(request["jobQueue"])
        job = {
            **{key: value for key, value in request.items() if key != "clientToken"},
            "jobQueue": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/{queue}",
            "jobId": job_id,
            "jobArn": f"arn:aws:batch:{REGION}:{ACCOUNT}:service-job/{job_id}",
            "createdAt": _now(),
            "status": "SUBMITTED",
            "attempts": [],
        }
        self._jobs[job_id], self._tokens[token] = job, job_id
        return _named(job)

    def _DescribeServiceJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {name: value for name, value in self._job(request).items() if not name.startswith("_")}

    def _ListServiceJobs(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        queue = self._queue(request["jobQueue"])
        filters = request.get("filters", [])
        if len(filters) > 1:
            raise Refused("ClientException", "Only one filter can be used at a time")
        status = None if filters else request.get("jobStatus", "RUNNING")
        found = [
            job
            for job in sorted(self._jobs.values(), key=lambda job: -job["createdAt"])
            if _name(job["jobQueue"]) == queue
            and status in (None, job["status"])
            and all(_fits(job, f) for f in filters)
        ]
        start, size = int(request.get("nextToken", 0)), request.get("maxResults", 100)
        token = {"nextToken": str(start + size)} if start + size < len(found) else {}
        return {"jobSummaryList": [_summary(job) for job in found[start : start + size]], **token}

    def _TerminateServiceJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self._job(request)
        if job["status"] in ("SUCCEEDED", "FAILED"):
            return {}
        job["isTerminated"], job["statusReason"] = True, request["reason"]
        training = self._training_of(job)
        if training is None or not training.stop():
            self._end(job, "FAILED", request["reason"])
        return {}

    def _GetJobQueueSnapshot(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        waiting = self._waiting(self._queue(request["jobQueue"]))[:100]
        front = [{"jobArn": job["jobArn"], "earliestTimeAtPosition": job["createdAt"]} for job in waiting]
        return {"frontOfQueue": {"jobs": front, "lastUpdatedAt": _now()}}

    def _DescribeJobQueues(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        names = [_name(one) for one in request.get("jobQueues", [])]
        queues = [name for name in self._conduct.batch_queues if name in names or not names]
        return {
            "jobQueues": [
                {
                    "jobQueueName": name,
                    "jobQueueArn": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/{name}",
                    "state": "ENABLED",
                    "status": "VALID",
                    "priority": 1,
                    "computeEnvironmentOrder": [],
                    "jobQueueType": "SAGEMAKER_TRAINING",
                }
                for name in queues
            ]
        }

    def _check_submission(self, request: dict[str, Any]) -> None:
        self._queue(request["jobQueue"])
        fair = _name(request["jobQueue"]) in self._conduct.fair_queues
        shared = _name(request["jobQueue"]) in self._conduct.quota_share_queues
        retry = request.get("retryStrategy", {"attempts": 1})
        problems = {
            "jobName must match [A-Za-z0-9_-]{1,128}": not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", request["jobName"]),
            "schedulingPriority must be from 0 to 9999": not 0 <= request.get("schedulingPriority", 0) <= 9999,
            "shareIdentifier must be specified": fair and "shareIdentifier" not in request,
            "shareIdentifier cannot be specified": not fair and "shareIdentifier" in request,
            "shareIdentifier must be alphanumeric": not re.fullmatch(
                r"[A-Za-z0-9]{1,255}", request.get("shareIdentifier", "x")
            ),
            "quotaShareName must be specified": shared and "quotaShareName" not in request,
            "quotaShareName cannot be specified": not shared and "quotaShareName" in request,
            "attempts must be from 1 to 10": not 1 <= retry["attempts"] <= 10,
            "evaluateOnExit takes at most 5": len(retry.get("evaluateOnExit", [])) > 5,
            "serviceRequestPayload must be JSON": not _is_json(request["serviceRequestPayload"]),
        }
        for problem, found in problems.items():
            if found:
                raise Refused("ClientException", problem)

    def _queue(self, name: str) -> str:
        if _name(name) not in self._conduct.batch_queues:
            raise Refused("ClientException", f"Job queue {name} does not exist")
        return _name(name)

    def _job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._jobs.get(request["jobId"])
        if job is None:
            raise Refused("ClientException", f"Service job {request['jobId']} does not exist")
        return job

    def _schedule(self) -> None:
        while not self._closing.wait(_STEP):
            with self._lock:
                for job in list(self._jobs.values()):
                    self._follow(job)
                for queue in self._conduct.batch_queues:
                    self._dispatch(queue)

    def _follow(self, job: dict[str, Any]) -> None:
        """Take a job's status from its training job."""
        training = self._training_of(job)
        if job["status"] == "SUBMITTED":
            job |= {"status": "RUNNABLE", "_tries": 1}
        if training is None or job["status"] in ("SUCCEEDED", "FAILED", "RUNNABLE"):
            return
        if training.status in ENDS:
            self._conclude(job, training)
        elif "TrainingStartTime" in training.described():
            job["status"] = "RUNNING"
            job.setdefault("startedAt", _now())
        else:
            job["status"] = "STARTING"

    def _conclude(self, job: dict[str, Any], training: Any) -> None:
        described = training.described()
        reason = self._conduct.batch_words + described.get(
            "FailureReason", described["SecondaryStatusTransitions"][-1]["StatusMessage"]
        )
        job["attempts"][-1] |= {"stoppedAt": _now(), "statusReason": reason}
        if training.status == "Completed":
            self._end(job, "SUCCEEDED", reason)
        elif "_preempted" in job:
            self._after_preemption(job, job.pop("_preempted"))
        elif _lacked_capacity(described) and not job.get("isTerminated"):
            self._wait_for_capacity(job, training.name)
        elif self._may_repeat(job, reason):
            job["status"] = "RUNNABLE"
        else:
            self._end(job, "FAILED", reason)

    def _after_preemption(self, job: dict[str, Any], finally_: bool) -> None:
        attempt = dict(job["attempts"][-1])
        summary = job.setdefault("preemptionSummary", {"preemptedAttemptCount": 0, "recentPreemptedAttempts": []})
        summary["preemptedAttemptCount"] += 1
        summary["recentPreemptedAttempts"].append(attempt)
        if finally_:
            self._end(job, "FAILED", attempt["statusReason"])
        else:
            job["status"] = "RUNNABLE"

    def _wait_for_capacity(self, job: dict[str, Any], name: str) -> None:
        """It counts as no attempt. Of the training jobs that found none, the last stays."""
        for earlier in job.setdefault("_without_capacity", []):
            found = self._training.find(earlier)
            if found is not None:
                self._training.remove(found)
        job |= {"status": "RUNNABLE", "statusReason": WAITS, "_without_capacity": [name]}

    def _may_repeat(self, job: dict[str, Any], reason: str) -> bool:
        retry = job.get("retryStrategy", {"attempts": 1})
        if job.get("isTerminated") or job["_tries"] >= retry["attempts"]:
            return False
        rules = retry.get("evaluateOnExit", [])
        again = next((rule["action"] == "RETRY" for rule in rules if fnmatchcase(reason, rule["onStatusReason"])), True)
        job["_tries"] += again
        return again

    def _dispatch(self, queue: str) -> None:
        """Send what the queue has room for, in order: a job that finds none holds up those behind it."""
        for job in self._waiting(queue):
            payload = json.loads(job["serviceRequestPayload"])
            running = [one for one in self._jobs.values() if one["status"] in ("SCHEDULED", "STARTING", "RUNNING")]
            used = sum(count_of(json.loads(one["serviceRequestPayload"])["ResourceConfig"]) for one in running)
            if used + count_of(payload["ResourceConfig"]) > self._conduct.batch_queues[queue]:
                return
            if not self._send(job, payload):
                return

    def _send(self, job: dict[str, Any], payload: dict[str, Any]) -> bool:
        digest = hashlib.md5(f"{job['jobId']} {len(job['attempts'])}".encode()).hexdigest()
        name = f"AWSBatch{job['jobName'][:_LONGEST_NAME].rstrip('-')}{digest}"
        try:
            arn = self._sagemaker.serve("CreateTrainingJob", {**payload, "TrainingJobName": name})["TrainingJobArn"]
        except Refused as error:
            reason = f"{self._conduct.batch_words}{error.code}: {error}"
            if not self._may_repeat(job, reason):
                self._end(job, "FAILED", reason)
            return True
        resource = {"serviceResourceId": {"name": "TrainingJobArn", "value": arn}}
        job["attempts"].append({**resource, "startedAt": _now()})
        job |= {"status": "SCHEDULED", "scheduledAt": _now(), "latestAttempt": resource}
        return True

    def _waiting(self, queue: str) -> list[dict[str, Any]]:
        waiting = [
            job for job in self._jobs.values() if job["status"] == "RUNNABLE" and _name(job["jobQueue"]) == queue
        ]
        return (
            sorted(waiting, key=lambda job: -job.get("schedulingPriority", 0))
            if queue in self._conduct.fair_queues
            else waiting
        )

    def _training_of(self, job: dict[str, Any]) -> Any:
        if "latestAttempt" not in job or job["status"] == "RUNNABLE":
            return None
        return self._training.find(_name(job["latestAttempt"]["serviceResourceId"]["value"]))

    def _end(self, job: dict[str, Any], status: str, reason: str) -> None:
        job |= {"status": status, "statusReason": reason, "stoppedAt": _now()}


def _lacked_capacity(described: dict[str, Any]) -> bool:
    """By the guide: it failed with a CapacityError, or was stopped because it had waited too long."""
    if described["TrainingJobStatus"] == "Failed":
        return bool(described["FailureReason"].startswith("CapacityError"))
    was_asked = any(one["Status"] == "Stopping" for one in described["SecondaryStatusTransitions"])
    return described["TrainingJobStatus"] == "Stopped" and not was_asked and "TrainingStartTime" not in described


def _now() -> int:
    return int(time.time() * 1000)


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _named(job: dict[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in ("jobArn", "jobName", "jobId")}


def _summary(job: dict[str, Any]) -> dict[str, Any]:
    left_out = (
        "serviceRequestPayload",
        "attempts",
        "retryStrategy",
        "timeoutConfig",
        "tags",
        "jobQueue",
        "schedulingPriority",
        "preemptionSummary",
    )
    return {name: value for name, value in job.items() if name not in left_out and not name.startswith("_")}


def _fits(job: dict[str, Any], condition: dict[str, Any]) -> bool:
    value = condition["values"][0]
    if condition["name"] == "JOB_NAME":
        return fnmatchcase(job["jobName"].lower(), value.lower())
    if condition["name"] == "AFTER_CREATED_AT":
        return bool(job["createdAt"] > int(value))
    raise Refused("ClientException", f"unknown filter {condition['name']}")


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
