"""Following jobs: by polling, or by the messages of a queue with polling beside them, slowly."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Following
from lyftlearn.errors import BackendUnavailable
from lyftlearn.events import JobEvent
from lyftlearn_sagemaker._poll import Poller
from lyftlearn_sagemaker._status import event_of_job, of_event_bridge

if TYPE_CHECKING:
    from lyftlearn_sagemaker._calls import Calls

DETAIL_TYPE = "SageMaker Training Job State Change"
_LONG_POLL = 2  # seconds: newly followed jobs are looked at in between
_LEFT_TO_OTHERS = timedelta(minutes=2)  # for which a message about a job that nobody follows here stays in the queue
_BATCH = 10
_log = logging.getLogger("lyftlearn")


def watch_by_polling(poller: Poller, following: Following) -> Iterator[JobEvent]:
    """Yield events from lists until `following` is closed. What cannot be reached now is tried again later."""
    while not following.closed:
        yield from _surviving(poller, poller.poll())
        poller.wait()


def watch_by_queue(poller: Poller, following: Following, queue: Queue) -> Iterator[JobEvent]:
    """Yield events from a queue until `following` is closed; lists are read only to reconcile."""
    while not following.closed:
        yield from _surviving(poller, _from_queue(poller, following, queue))


def _from_queue(poller: Poller, following: Following, queue: Queue) -> Iterator[JobEvent]:
    yield from poller.newcomers()
    if poller.idle:
        poller.wait()
        return
    for job in queue.receive(following.ids):
        yield from poller.tell(job)
    yield from poller.reconciled()


def _surviving(poller: Poller, events: Iterator[JobEvent]) -> Iterator[JobEvent]:
    try:
        yield from events
    except BackendUnavailable as exc:
        _log.warning("%s; following goes on", exc)
        poller.wait()


class Queue:
    """An SQS queue that EventBridge fills with the state changes of training jobs.

    Messages come twice, late and in any order; each carries the whole job as it was. Those about jobs that this process
    does not follow are left to others for a while, then deleted by whoever meets them.
    """

    def __init__(self, calls: Calls, url: str) -> None:
        self._calls = calls
        self._url = url

    def receive(self, ids: frozenset[str]) -> Iterator[Mapping[str, Any]]:
        """Yield the jobs of a batch of messages, and delete those messages afterwards: a crash gives them again."""
        request = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": _BATCH,
            "WaitTimeSeconds": _LONG_POLL,
            "AttributeNames": ["SentTimestamp"],
        }
        done = []
        for message in self._calls.call("sqs", "receive_message", request).get("Messages", []):
            job = _job_of(message)
            if job is not None and job["TrainingJobName"] in ids:
                yield job
            elif job is not None and _age(message) < _LEFT_TO_OTHERS:
                continue
            done.append(message["ReceiptHandle"])
        if done:
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(done)]
            self._calls.call("sqs", "delete_message_batch", {"QueueUrl": self._url, "Entries": entries})


def _job_of(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the job of a message, or None if it is about something else."""
    try:
        body = json.loads(message["Body"])
        if body["detail-type"] != DETAIL_TYPE:
            return None
        job = of_event_bridge(body["detail"])
        event_of_job(job)  # whether it can be read
    except (ValueError, KeyError, TypeError) as exc:
        _log.warning("a message in the queue cannot be read and is deleted: %s", type(exc).__name__)
        return None
    return job


def _age(message: Mapping[str, Any]) -> timedelta:
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    return datetime.now(UTC) - sent
