"""Lines of CloudWatch: every node's, each once, from streams that appear late and one by one.

A node has a stream, `<job>/algo-<n>-<epoch>`, and another each time the infrastructure starts it anew. A position in a
stream is the token that CloudWatch gives, so nothing is given twice. Nothing announces a stream's last line: a job that
has ended is read until nothing has come for a while.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import LogLine, LogQuery
from lyftlearn_sagemaker.api.errors import AwsError

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient

GROUP = "/aws/sagemaker/TrainingJobs"
_STREAM = re.compile(r".*/algo-(?P<node>\d+)-(?P<epoch>\d+)")
_NOTE = re.compile(r'\{"event": "running", "attempt": \d+, "at": [\d.]+\}')
"""What the runtime notes in the log where a command may run again; for SageMaker, not for people."""
_PAGE = 10_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_LATE = timedelta(minutes=2)  # after its job's end a log changes no more


@dataclass
class _Stream:
    """How far one stream was read. A stream that is new to a follower is read from its head."""

    name: str
    node: int
    epoch: int
    token: str | None = None
    held: list[LogLine] = field(default_factory=list)


@dataclass(frozen=True)
class JobEnd:
    """Whether a job has ended, and when."""

    at: datetime | None

    @property
    def settled(self) -> bool:
        """Whether its log is complete."""
        return self.at is not None and datetime.now(UTC) - self.at > _LATE


class LogReader:
    """Reads the log of one job. `end` asks how the job is."""

    def __init__(self, aws: AwsClient, job_id: str, query: LogQuery, settle: float, end: Callable[[], JobEnd]) -> None:
        self._aws = aws
        self._job_id = job_id
        self._query = query
        self._settle = settle
        self._end = end
        self._streams: dict[str, _Stream] = {}
        self._first_look = True

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines that were asked for."""
        pause, quiet_since, heard = _FIRST_PAUSE, time.monotonic(), False
        while True:
            end = JobEnd(None) if heard else self._end()  # while it speaks, nobody need ask whether it lives
            heard = False
            for line in self._read():
                heard = True
                yield line
            now = time.monotonic()
            quiet_since = now if heard else quiet_since
            if not heard and self._over(end, now - quiet_since):
                return
            pause = _FIRST_PAUSE if heard else min(pause * 1.5, _LONGEST_PAUSE)
            time.sleep(min(pause, max(0.1, self._settle / 4)) if end.at else pause)

    def _over(self, end: JobEnd, quiet: float) -> bool:
        """Whether no line can follow. Of a job that goes on, only a follower waits for more."""
        if end.at is None:
            return not self._query.follow
        return end.settled or quiet >= self._settle

    def _read(self) -> Iterator[LogLine]:
        self._find_streams()
        first, self._first_look = self._first_look, False
        for _, streams in sorted(self._by_node().items()):
            if first and self._query.tail is not None:
                yield from self._tail(streams, self._query.tail)
            else:
                for stream in streams:
                    yield from self._forward(stream)

    def _by_node(self) -> Mapping[int, list[_Stream]]:
        nodes: dict[int, list[_Stream]] = {}
        for stream in sorted(self._streams.values(), key=lambda one: (one.node, one.epoch)):
            if self._query.node in (None, stream.node):
                nodes.setdefault(stream.node, []).append(stream)
        return nodes

    def _find_streams(self) -> None:
        request: dict[str, Any] = {"logGroupName": GROUP, "logStreamNamePrefix": f"{self._job_id}/"}
        while True:
            page = self._ask("describe_log_streams", request)
            for found in page.get("logStreams", []):
                match = _STREAM.fullmatch(found["logStreamName"])
                if match and found["logStreamName"] not in self._streams:
                    stream = _Stream(found["logStreamName"], int(match["node"]) - 1, int(match["epoch"]))
                    self._streams[stream.name] = stream
            if not page.get("nextToken"):
                return
            request["nextToken"] = page["nextToken"]

    def _forward(self, stream: _Stream) -> Iterator[LogLine]:
        """Yield what follows the stream's position. A page may be empty and not the last: the same token is the end."""
        while True:
            request = self._request(stream, startFromHead=True)
            page = self._ask("get_log_events", {**request, **({"nextToken": stream.token} if stream.token else {})})
            yield from self._lines(stream, page)
            token = page.get("nextForwardToken")
            if token is None or token == stream.token:
                return
            stream.token = token

    def _tail(self, streams: list[_Stream], count: int) -> Iterator[LogLine]:
        """Yield a node's last lines, reading backwards from its newest stream; following goes on from there."""
        kept: list[LogLine] = []
        for stream in reversed(streams):
            kept = [*self._backward(stream, count - len(kept)), *kept]
        yield from kept[len(kept) - count :] if count < len(kept) else kept

    def _backward(self, stream: _Stream, count: int) -> list[LogLine]:
        lines: list[LogLine] = []
        token: str | None = None
        while True:
            request = self._request(stream, startFromHead=False, limit=min(max(count, 1) + 1, _PAGE))
            page = self._ask("get_log_events", {**request, **({"nextToken": token} if token else {})})
            lines = [*self._lines(stream, page), *lines]
            stream.token = stream.token or page.get("nextForwardToken")
            if len(lines) >= count or page.get("nextBackwardToken") in (None, token):
                return lines[len(lines) - count :] if count < len(lines) else lines
            token = page["nextBackwardToken"]

    def _request(self, stream: _Stream, **how: Any) -> dict[str, Any]:
        since = self._query.since
        start = {"startTime": int(since.timestamp() * 1000)} if since else {}
        return {"logGroupName": GROUP, "logStreamName": stream.name, **start, **how}

    def _lines(self, stream: _Stream, page: Mapping[str, Any]) -> Iterator[LogLine]:
        for event in page["events"]:
            text = event["message"].removesuffix("\n")
            if not _NOTE.fullmatch(text):
                yield LogLine(stream.node, datetime.fromtimestamp(event["timestamp"] / 1000, UTC), _as_printed(text))

    def _ask(self, operation: str, request: dict[str, Any]) -> Mapping[str, Any]:
        try:
            page: Mapping[str, Any] = self._aws.call("logs", operation, request)
        except AwsError as exc:
            if not exc.missing:
                raise
            return {"events": []}  # the group is there from an account's first job on, a stream from its first line on
        return page


def _as_printed(text: str) -> str:
    """Return a line without the space by which the runtime carries blank ones: CloudWatch takes no empty message."""
    return text if text.strip(" ") else text[1:]
