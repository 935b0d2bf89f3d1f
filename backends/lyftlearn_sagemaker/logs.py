"""Lines of CloudWatch: every node's, each once, from streams that appear late and one by one.

A node has a stream, `<job>/algo-<n>-<epoch>`, and another each time the infrastructure starts it anew. A position in a
stream is the token that CloudWatch gives, so nothing is given twice. The runtime marks a stream's last line. Where it
could not, because its machine was taken away or the kernel killed it, a job that has ended is read until nothing has
come for a while, and a warning says that more may come.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import LogLine, LogQuery
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_sagemaker.api.errors import AwsError
from lyftlearn_sagemaker.api.patience import Patience
from lyftlearn_sagemaker.log_text import Writing, printed_line, says_end

if TYPE_CHECKING:
    from lyftlearn.events import JobEvent
    from lyftlearn_sagemaker.api.client import AwsClient

GROUP = "/aws/sagemaker/TrainingJobs"
_STREAM = re.compile(r".*/algo-(?P<node>\d+)-(?P<epoch>\d+)")
_PAGE = 10_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_MARK_SETTLE = 15.0  # seconds by which CloudWatch is hardly ever late
_OF_THE_RUNTIME = (FailureReason.USER_ERROR, FailureReason.TIMEOUT)
_LATE = timedelta(minutes=2)  # after its job's end a log changes no more
_log = logging.getLogger("lyftlearn")


@dataclass
class _Stream:
    """How far one stream was read. A stream that is new to a follower is read from its head."""

    name: str
    node: int
    epoch: int
    token: str | None = None
    complete: bool = False


@dataclass(frozen=True)
class LoggedJob:
    """Whose log is read.

    training_jobs: asks for the names that its log is kept under, which may become more. end: asks how the job ended,
    None while it goes on; it is given whether that is near.
    """

    id: str
    training_jobs: Callable[[], Sequence[str]]
    nodes: int
    writing: Writing
    end: Callable[[bool], JobEvent | None]

    def is_marked(self, end: JobEvent) -> bool:
        """Whether the runtime came to its end and has marked it, so that the mark is only late."""
        came_to_its_end = end.status is JobStatus.SUCCEEDED or end.reason in _OF_THE_RUNTIME
        return self.writing is Writing.MARKED and came_to_its_end


class LogReader:
    """Reads the log of one job. settle: seconds of silence after a job's end, where nothing marks the last line."""

    def __init__(self, aws: AwsClient, job: LoggedJob, query: LogQuery, settle: float) -> None:
        self._aws = aws
        self._job = job
        self._query = query
        self._settle = settle
        self._streams: dict[str, _Stream] = {}
        self._first_look = True
        self._names: Sequence[str] = ()
        self._names_at = 0.0
        self._patience = Patience()

    def has_streams(self) -> bool:
        """Whether CloudWatch has anything of the job."""
        self._find_streams()
        return bool(self._streams)

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines that were asked for."""
        pause, quiet_since, ended = _FIRST_PAUSE, time.monotonic(), False
        while True:
            # asked first, so that what was printed before the end is read after it
            end = self._bear(lambda: self._job.end(self._is_complete()))
            heard = False
            for line in self._read():
                heard = True
                yield line
            if heard or (end is not None) != ended:
                pause, quiet_since, ended = _FIRST_PAUSE, time.monotonic(), end is not None
            elif self._is_over(end, time.monotonic() - quiet_since):
                return
            else:
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            if ended and self._is_complete():
                return
            time.sleep(min(pause, max(0.1, self._settle / 4)) if ended else pause)

    def _is_over(self, end: JobEvent | None, quiet: float) -> bool:
        """Whether no line can follow. Of a job that goes on, only a follower waits for more."""
        if end is None:
            return not self._query.follow
        if self._aws.now() - end.at > _LATE:
            return True
        marked = self._job.is_marked(end)
        if quiet < (max(self._settle, _MARK_SETTLE) if marked else self._settle):
            return False
        if self._streams or marked:  # else no container may ever have started
            late = f"{end.at + _LATE:%H:%M:%S} UTC"
            _log.warning("%s: the log may go on: lines may come until %s; read it again then", self._job.id, late)
        return True

    def _is_complete(self) -> bool:
        """Whether the newest stream of every node has said that nothing follows."""
        nodes = range(self._job.nodes) if self._query.node is None else (self._query.node,)
        streams = self._by_node()
        return all(node in streams and streams[node][-1].complete for node in nodes)

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
        for name in self._training_jobs():
            self._find_streams_of(name)

    def _training_jobs(self) -> Sequence[str]:
        """Return the names as they are known: asked for as often as there are no lines to read."""
        now = time.monotonic()
        if not self._names or now > self._names_at + _LONGEST_PAUSE:
            self._names = self._bear(self._job.training_jobs)
            self._names_at = now
        return self._names

    def _find_streams_of(self, training_job: str) -> None:
        request: dict[str, Any] = {"logGroupName": GROUP, "logStreamNamePrefix": f"{training_job}/"}
        while True:
            page = self._ask("describe_log_streams", request)
            for described in page.get("logStreams", []):
                match = _STREAM.fullmatch(described.get("logStreamName", ""))
                if match and match[0] not in self._streams:
                    self._streams[match[0]] = _Stream(match[0], int(match["node"]) - 1, int(match["epoch"]))
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
        start = {"startTime": max(0, int(since.timestamp() * 1000))} if since else {}
        return {"logGroupName": GROUP, "logStreamName": stream.name, **start, **how}

    def _lines(self, stream: _Stream, page: Mapping[str, Any]) -> Iterator[LogLine]:
        for event in page.get("events", []):  # each member of it is optional, too
            marked, message = self._job.writing is Writing.MARKED, event.get("message", "")
            stream.complete = stream.complete or (marked and says_end(message))
            text = printed_line(message, self._job.writing)
            if text is not None:
                milliseconds = event.get("timestamp", event.get("ingestionTime", stream.epoch))
                yield LogLine(stream.node, datetime.fromtimestamp(milliseconds / 1000, UTC), text)

    def _ask(self, operation: str, request: dict[str, Any]) -> Mapping[str, Any]:
        try:
            page: Mapping[str, Any] = self._bear(lambda: self._aws.call("logs", operation, request))
        except AwsError as exc:
            if not exc.is_missing:
                raise
            return {}  # the group is there from an account's first job on, a stream from its first line on
        return page

    def _bear(self, ask: Callable[[], Any]) -> Any:
        """Return the answer; who follows goes on asking as long as an error may pass."""
        return self._patience.bear(ask) if self._query.follow else ask()
