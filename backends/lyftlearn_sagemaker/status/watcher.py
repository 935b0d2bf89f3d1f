"""WatchSet jobs: by polling, or by the messages of a queue with polling beside them, slowly."""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import WatchSet
from lyftlearn.events import JobEvent
from lyftlearn_sagemaker.api.client import ONCE
from lyftlearn_sagemaker.api.errors import AwsError
from lyftlearn_sagemaker.api.patience import Patience
from lyftlearn_sagemaker.record import is_queued
from lyftlearn_sagemaker.status.events import event_of_job, from_event_bridge
from lyftlearn_sagemaker.status.poller import Poller

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

DETAIL_TYPE = "SageMaker Training Job State Change"
_LONG_POLL = 2  # seconds: newly followed jobs are looked at in between
SHARED_FOR = timedelta(minutes=2)  # for which a message stays in the queue, so that every process reads it
HIDDEN_FOR = 10  # seconds for which whoever reads a message has it alone
_BATCH = 10
_MOST_REMEMBERED = 10_000  # messages
_FIRST_BREAK, _LONGEST_BREAK = 5.0, 300.0  # seconds without a queue that is in trouble
_log = logging.getLogger("lyftlearn")


def watch_by_polling(poller: Poller, following: WatchSet) -> Iterator[JobEvent]:
    """Yield events from lists until `following` is closed. What cannot be reached now is tried again later."""
    patience = Patience()
    while not following.closed:
        yield from _ride_out(poller, patience, poller.poll())
        poller.wait()


def watch_by_queue(poller: Poller, following: WatchSet, queue: Queue) -> Iterator[JobEvent]:
    """Yield events from a queue until `following` is closed. Lists are read to reconcile, and if it is in trouble."""
    patience = Patience()
    while not following.closed:
        yield from _ride_out(poller, patience, _from_queue(poller, queue))


def _from_queue(poller: Poller, queue: Queue) -> Iterator[JobEvent]:
    if not queue.available:
        yield from poller.poll()
        poller.wait()
        return
    yield from poller.newcomers()
    if poller.idle:
        poller.wait()
        return
    for event in queue.receive():
        yield from poller.report(event)
    yield from poller.changes_in_queues()
    yield from poller.reconcile()


def _ride_out(poller: Poller, patience: Patience, events: Iterator[JobEvent]) -> Iterator[JobEvent]:
    try:
        yield from events
        patience.restore()
    except AwsError as exc:
        if not patience.bears(exc):
            raise
        _log.warning("%s; following goes on", exc)
        poller.wait()


class Queue:
    """An SQS queue that EventBridge fills with the state changes of training jobs.

    Messages come twice, late and in any order; each carries the whole job as it was. Several processes may share the
    queue, and SQS gives a message to one reader at a time. So each message stays for a while, is hidden for seconds
    only, and is deleted by whoever meets it when it is old. A queue that is in trouble is left alone for a while.
    """

    def __init__(self, aws: AwsClient, url: str) -> None:
        self._aws = aws
        self._url = url
        self._read: OrderedDict[str, None] = OrderedDict()
        self._break = _FIRST_BREAK
        self._available_at = 0.0

    @property
    def available(self) -> bool:
        """Whether it is worth asking."""
        return time.monotonic() >= self._available_at

    def receive(self) -> Iterator[JobEvent]:
        """Yield the events of new messages, and delete old ones afterwards: after a crash they come again."""
        try:
            messages = self._receive()
            for message in messages:
                if not self._was_read(message):
                    yield from _events_of(message)
            old = [one for one in messages if _age(one, self._aws.now()) >= SHARED_FOR]
            self._delete([one["ReceiptHandle"] for one in old if "ReceiptHandle" in one])
            self._break = _FIRST_BREAK
        except AwsError as exc:
            _log.warning("%s: the queue is left alone for %.0f s, and jobs are followed by lists", exc, self._break)
            self._available_at = time.monotonic() + self._break
            self._break = min(self._break * 2, _LONGEST_BREAK)

    def _receive(self) -> Sequence[Mapping[str, Any]]:
        request = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": _BATCH,
            "WaitTimeSeconds": _LONG_POLL,
            "VisibilityTimeout": HIDDEN_FOR,
            "AttributeNames": ["SentTimestamp"],
        }
        messages: Sequence[Mapping[str, Any]]
        messages = self._aws.call("sqs", "receive_message", request, budget=ONCE).get("Messages", [])
        return messages

    def _was_read(self, message: Mapping[str, Any]) -> bool:
        """Remember a message; return whether this process has read it before."""
        name = message.get("MessageId", "")
        read = bool(name) and name in self._read
        self._read[name] = None
        if len(self._read) > _MOST_REMEMBERED:
            self._read.popitem(last=False)
        return read

    def _delete(self, receipts: Sequence[str]) -> None:
        if receipts:
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
            request = {"QueueUrl": self._url, "Entries": entries}
            self._aws.call("sqs", "delete_message_batch", request, budget=ONCE)


def _events_of(message: Mapping[str, Any]) -> Iterator[JobEvent]:
    """Yield the event of a message; none if it is about something else, or cannot be read."""
    try:
        body = json.loads(message["Body"])
        if body["detail-type"] == DETAIL_TYPE and not is_queued(body["detail"]):
            yield event_of_job(from_event_bridge(body["detail"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
        _log.warning("a message in the queue cannot be read: %s", type(exc).__name__)


def _age(message: Mapping[str, Any], now: datetime) -> timedelta:
    """Return how long a message has been in the queue. One that cannot say it is old."""
    sent = message.get("Attributes", {}).get("SentTimestamp")
    return now - datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else SHARED_FOR
