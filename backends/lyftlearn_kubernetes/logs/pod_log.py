"""The log of one pod, as its node has it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import PODS
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse
from lyftlearn_kubernetes.logs.cursor import LineBuffer, LogCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from lyftlearn.backend import StampedLine
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.api.transport import Stream
    from lyftlearn_kubernetes.status.observed import ObservedPod

NOT_YET = 400
SILENCE = 600.0  # a program may be silent for long; a connection that died without a word is found by keepalive probes
MOST_FAILURES = 10  # of a node that the API server cannot reach, and whose pod has ended


class Outcome(Enum):
    """How a reading ended."""

    COMPLETE = "at the end that the log had then"
    UNREADABLE = "the node does not have the log, and will not have it"
    BROKEN = "it goes on elsewhere, or later"


class PodLog:
    """Reads a pod's log in as many requests as it takes. error: what broke the last one."""

    def __init__(self, cluster: Cluster, since: datetime | None, opened: Callable[[Stream | None], None]) -> None:
        self._cluster = cluster
        self._since = since
        self._opened = opened
        self._failures = 0
        self.cursor = LogCursor()
        self.error: Exception | None = None

    def lines(
        self, pod: ObservedPod, *, follow: bool = False, tail: int | None = None
    ) -> Generator[StampedLine, None, Outcome]:
        """Yield the new lines of one request."""
        path = self._cluster.path(PODS, pod.name, "log")
        try:
            with self._cluster.stream(path, self._parameters(follow=follow, tail=tail), SILENCE) as stream:
                self._opened(stream)
                readable = yield from self._new_lines(stream, pod)
        except NoResponse as exc:
            self.error = exc
            return Outcome.BROKEN
        except ApiError as exc:
            return self._after_refusal(exc, pod)
        finally:
            self._opened(None)
        self._failures = 0
        return Outcome.COMPLETE if readable else self._unreadable(pod)

    def _parameters(self, *, follow: bool, tail: int | None) -> dict[str, str]:
        resume = self.cursor.resume()
        if not resume and self._since is not None:
            resume = {"sinceTime": f"{self._since:%Y-%m-%dT%H:%M:%SZ}".zfill(20)}
        if tail is not None:
            resume["tailLines"] = str(max(1, tail))
        if tail is not None or self._since is not None:
            self.cursor.whole = False
        following = {"follow": "true"} if follow else {}
        return {"container": labels.MAIN, "timestamps": "true", **resume, **following}

    def _new_lines(self, stream: Stream, pod: ObservedPod) -> Generator[StampedLine, None, bool]:
        """Yield new lines; return whether this was the log, and not the kubelet's word that it has none."""
        buffer = LineBuffer()
        for piece, ends in stream.pieces():
            yield from filter(self._is_new, buffer.add(piece, ends=ends))
        rest = list(buffer.rest())
        if pod.has_ended:
            yield from filter(self._is_new, rest)
        return not buffer.foreign or self.cursor.last is not None

    def _is_new(self, line: StampedLine) -> bool:
        return self.cursor.passes(line) and (self._since is None or line.at >= self._since)

    def _after_refusal(self, error: ApiError, pod: ObservedPod) -> Outcome:
        """Tell a log that is not there yet, or not any more, from a node that does not answer now."""
        self.error = error
        if error.status == NOT_YET or error.says_missing(pod.name):
            return self._unreadable(pod)
        self._failures += 1
        gives_up = pod.has_ended and error.retryable and self._failures > MOST_FAILURES
        return Outcome.UNREADABLE if gives_up else Outcome.BROKEN

    def _unreadable(self, pod: ObservedPod) -> Outcome:
        if pod.has_ended:
            return Outcome.UNREADABLE
        self.error = NoResponse(f"the log of {pod.name} is not there yet", sent=False)
        return Outcome.BROKEN
