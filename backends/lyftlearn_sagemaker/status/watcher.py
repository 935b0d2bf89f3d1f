"""WatchSet jobs: by polling, or by the messages of a queue with polling beside them, slowly."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import WatchSet
from lyftlearn.events import JobEvent
from lyftlearn_sagemaker.api.errors import AwsError, Kind
from lyftlearn_sagemaker.status.events import event_of_job, from_event_bridge
from lyftlearn_sagemaker.status.poller import Poller

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

DETAIL_TYPE = "SageMaker Training Job State Change"
_LONG_POLL = 2  # seconds: newly followed jobs are looked at in between
_LEFT_TO_OTHERS = timedelta(minutes=2)  # for which a message about a job that nobody follows here stays in the queue
_BATCH = 10
_log = logging.getLogger("lyftlearn")


def watch_by_polling(poller: Poller, following: WatchSet) -> Iterator[JobEvent]:
    """Yield events from lists until `following` is closed. What cannot be reached now is tried again later."""
    while not following.closed:
        yield from _ride_out(poller, poller.poll())
        poller.wait()


def watch_by_queue(poller: Poller, following: WatchSet, queue: Queue) -> Iterator[JobEvent]:
    """Yield events from a queue until `following` is closed; lists are read only to reconcile."""
    while not following.closed:
        yield from _ride_out(poller, _from_queue(poller, following, queue))


def _from_queue(poller: Poller, following: WatchSet, queue: Queue) -> Iterator[JobEvent]:
    yield from poller.newcomers()
    if poller.idle:
        poller.wait()
        return
    for event in queue.receive(following.ids):
        yield from poller.report(event)
    yield from poller.reconcile()


def _ride_out(poller: Poller, events: Iterator[JobEvent]) -> Iterator[JobEvent]:
    try:
        yield from events
    except AwsError as exc:
        if exc.kind is Kind.REFUSED:
            raise
        _log.warning("%s; following goes on", exc)
        poller.wait()


class Queue:
    """An SQS queue that EventBridge fills with the state changes of training jobs.

    Messages come twice, late and in any order; each carries the whole job as it was. Those about jobs that this process
    does not follow are left to others for a while, then deleted by whoever meets them.
    """

    def __init__(self, aws: AwsClient, url: str) -> None:
        self._aws = aws
        self._url = url

    def receive(self, ids: frozenset[str]) -> Iterator[JobEvent]:
        """Yield the events of a batch of messages, and delete those afterwards: after a crash they come again."""
        request = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": _BATCH,
            "WaitTimeSeconds": _LONG_POLL,
            "AttributeNames": ["SentTimestamp"],
        }
        done = []
        for message in self._aws.call("sqs", "receive_message", request).get("Messages", []):
            event = _event_of(message)
            if event is not None and event.job_id in ids:
                yield event
            elif event is not None and _age(message) < _LEFT_TO_OTHERS:
                continue
            done.append(message["ReceiptHandle"])
        if done:
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(done)]
            self._aws.call("sqs", "delete_message_batch", {"QueueUrl": self._url, "Entries": entries})


def _event_of(message: Mapping[str, Any]) -> JobEvent | None:
    """Return the event of a message, or None if it is about something else."""
    try:
        body = json.loads(message["Body"])
        if body["detail-type"] != DETAIL_TYPE:
            return None
        return event_of_job(from_event_bridge(body["detail"]))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        _log.warning("a message in the queue cannot be read and is deleted: %s", type(exc).__name__)
        return None


def _age(message: Mapping[str, Any]) -> timedelta:
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    return datetime.now(UTC) - sent
