"""Lines of a job's pods: followed while they run, each once, and from the storage when the pods are gone."""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from lyftlearn.backend import LogLine
from lyftlearn.errors import BackendUnavailable, JobNotFound, LyftLearnError
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import PODS
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse, lyftlearn_error
from lyftlearn_kubernetes.logs import archived
from lyftlearn_kubernetes.logs.cursor import LogCursor, parse
from lyftlearn_kubernetes.status import jobs, observed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from lyftlearn.backend import LogQuery
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.api.transport import Stream
    from lyftlearn_kubernetes.logs.cursor import StampedLine
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

NOT_FOUND, NOT_YET = 404, 400
SILENCE = 600.0  # a program may be silent for long; a connection that died without a word is found after this
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
MOST_FAILURES = 10


class LogReader:
    """Reads the logs of one namespace."""

    def __init__(self, cluster: Cluster, storage_url: str) -> None:
        self._cluster = cluster
        self._storage_url = storage_url

    def lines(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines of every node that is asked for."""
        job = observed.job(jobs.fetch(self._cluster, job_id))
        nodes = [node for node in range(job.nodes) if query.node in (None, node)]
        readers = [NodeLog(self._cluster, self._storage_url, job_id, node, query) for node in nodes]
        if not query.follow:
            for reader in readers:
                yield from reader.available()
        elif len(readers) == 1:
            yield from readers[0].follow()
        else:
            yield from _merge(readers)


def _merge(readers: list[NodeLog]) -> Iterator[LogLine]:
    """Yield from all at once, as it comes: a silent node hides nobody."""
    queue: SimpleQueue[LogLine | BaseException | None] = SimpleQueue()

    def read(reader: NodeLog) -> None:
        try:
            for line in reader.follow():
                queue.put(line)
            queue.put(None)
        except BaseException as exc:  # noqa: BLE001 - raised again where the lines are read
            queue.put(exc)

    for reader in readers:
        threading.Thread(target=read, args=(reader,), daemon=True, name="lyftlearn-log").start()
    going_on = len(readers)
    try:
        while going_on:
            item = queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                going_on -= 1
            else:
                yield item
    finally:
        for reader in readers:
            reader.close()


class NodeLog:
    """The log of one node: of its pods, one after the other."""

    def __init__(self, cluster: Cluster, storage_url: str, job_id: str, node: int, query: LogQuery) -> None:
        self._cluster = cluster
        self._storage_url = storage_url
        self._job_id = job_id
        self._node = node
        self._query = query
        self._cursors: dict[str, LogCursor] = {}
        self._failures = 0
        self._unreadable: set[str] = set()
        self._closed = threading.Event()
        self._open: Stream | None = None

    def close(self) -> None:
        """End `follow`, from any thread: nobody reads on."""
        self._closed.set()
        stream = self._open
        if stream is not None:
            stream.close()

    def available(self) -> Iterator[LogLine]:
        """Yield what there is."""
        lines: deque[StampedLine] = deque(maxlen=self._query.tail)
        job, pods = self._observe()
        begun = [pod for pod in pods if _has_begun(pod)]
        for pod in begun:
            self._read(pod, lines)
        if job.finished and (not begun or self._unreadable):
            lines = deque(self._archived_lines(job), maxlen=self._query.tail) or lines
        yield from map(self._line, lines)

    def follow(self) -> Iterator[LogLine]:
        """Yield what there is and what comes, until the job has finished and the last line was given."""
        if self._query.tail is not None:
            yield from self._last_lines()
        ended: set[str] = set()
        pauses = iter(PAUSES)
        while not self._closed.is_set():
            job, pods = self._observe()
            pod = next((pod for pod in pods if pod.uid not in ended), None)
            if pod is None or not _has_begun(pod):
                if job.finished:
                    yield from self._remaining_lines(job)
                    return
                self._closed.wait(next(pauses, PAUSES[-1]))
                continue
            pauses = iter(PAUSES)
            was_over = pod.ended
            whole = yield from self._stream(pod, follow=not was_over)
            if was_over and whole:
                ended.add(pod.uid)
            elif not whole:
                self._closed.wait(PAUSES[min(self._failures, len(PAUSES) - 1)])

    def _last_lines(self) -> Iterator[LogLine]:
        """Yield the last lines of now, and note where they end."""
        lines: deque[StampedLine] = deque(maxlen=self._query.tail)
        _, pods = self._observe()
        for pod in filter(_has_begun, pods):
            self._read(pod, lines)
        yield from map(self._line, lines)

    def _remaining_lines(self, job: ObservedJob) -> Iterator[LogLine]:
        """Yield what the pods took with them, if it was kept; the lines are the same, so they are counted."""
        if not self._cursors:
            lines = self._archived_lines(job)
            yield from map(self._line, deque(lines, maxlen=self._query.tail))
        elif self._query.tail is None and self._query.since is None:
            for pod, kept in archived.pod_logs(self._storage_url, self._job_id, self._node):
                given = self._cursors[pod].count if pod in self._cursors else len(kept)
                yield from map(self._line, kept[given:])

    def _archived_lines(self, job: ObservedJob) -> list[StampedLine]:
        """Return all that was kept. Raises if the job surely had a log that nothing kept."""
        pods = list(archived.pod_logs(self._storage_url, self._job_id, self._node))
        if not pods and job.complete is not None:
            raise LyftLearnError(
                f"the pods of {self._job_id} are gone, and its log with them: "
                "set [storage] url to s3://<bucket>/<prefix>, where the logs of later jobs will be kept"
            )
        return [line for _, kept in pods for line in kept if self._in_range(line)]

    def _read(self, pod: ObservedPod, into: deque[StampedLine]) -> None:
        """Read a pod's log of now."""
        while True:
            reading = self._lines_of(pod, follow=False)
            try:
                while True:
                    into.append(next(reading))
            except StopIteration as end:
                if end.value or self._failures == 0:
                    return
            time.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])

    def _stream(self, pod: ObservedPod, *, follow: bool) -> Generator[LogLine, None, bool]:
        """Yield the lines of one request; return whether it reached the log's end of that time."""
        reading = self._lines_of(pod, follow=follow)
        while True:
            try:
                line = next(reading)
            except StopIteration as end:
                return bool(end.value)
            yield self._line(line)

    def _lines_of(self, pod: ObservedPod, *, follow: bool) -> Generator[StampedLine, None, bool]:
        """Yield new lines of one request; return whether it reached the log's end of that time."""
        cursor = self._cursor_of(pod)
        params = {
            "container": labels.MAIN,
            "timestamps": "true",
            **self._start(cursor),
            **({"follow": "true"} if follow else {}),
        }
        path = self._cluster.path(PODS, pod.name, "log")
        try:
            with self._cluster.stream(path, params, SILENCE) as self._open:
                stream = self._open
                if self._closed.is_set():  # `close` came before there was anything to close
                    return True
                for raw in stream.lines():
                    line = parse(raw)
                    if line and cursor.passes(line) and self._in_range(line):
                        self._failures = 0
                        yield line
                rest = parse(stream.rest) if pod.ended else None
                if rest and cursor.passes(rest) and self._in_range(rest):
                    yield rest
        except NoResponse as exc:
            return self._fail(exc, pod, follow=follow)
        except ApiError as exc:
            return self._handle_refusal(exc, pod, follow=follow)
        self._failures = 0
        return True

    def _handle_refusal(self, exc: ApiError, pod: ObservedPod, *, follow: bool) -> bool:
        """Return whether there is nothing to wait for: a log may be not there yet, or not any more."""
        if exc.retryable:
            return self._fail(exc, pod, follow=follow)
        if exc.status not in (NOT_FOUND, NOT_YET):
            raise lyftlearn_error(exc, "reading logs") from exc
        if pod.ended:
            self._unreadable.add(pod.uid)
        return pod.ended

    def _fail(self, exc: Exception, pod: ObservedPod, *, follow: bool) -> bool:
        """Return whether to give up a pod: its node may be gone, and the API server waits for it."""
        self._failures += 1
        if self._failures <= MOST_FAILURES or (follow and not pod.ended):
            return False
        if not pod.ended:
            raise BackendUnavailable(f"the log of {self._job_id} cannot be read: {exc}") from exc
        self._unreadable.add(pod.uid)
        self._failures = 0
        return True

    def _cursor_of(self, pod: ObservedPod) -> LogCursor:
        return self._cursors.setdefault(pod.name, LogCursor())

    def _start(self, cursor: LogCursor) -> dict[str, str]:
        if cursor.last is not None:
            return cursor.resume()
        query = self._query
        params = {} if query.tail is None else {"tailLines": str(max(1, query.tail))}
        if query.since is not None:
            params["sinceTime"] = f"{query.since:%Y-%m-%dT%H:%M:%SZ}"
        return params

    def _in_range(self, line: StampedLine) -> bool:
        return self._query.since is None or line.at >= self._query.since

    def _line(self, line: StampedLine) -> LogLine:
        return LogLine(self._node, line.at, line.text.decode("utf-8", "replace"))

    def _observe(self) -> tuple[ObservedJob, list[ObservedPod]]:
        """Return the job and the pods of this node, oldest first."""
        try:
            job = observed.job(jobs.fetch(self._cluster, self._job_id))
        except JobNotFound as exc:
            if not self._cursors:
                raise
            raise LyftLearnError(f"{self._job_id} was deleted while its log was read") from exc
        pods = [pod for pod in jobs.pods_of(self._cluster, self._job_id) if pod.node == self._node]
        return job, sorted(pods, key=lambda pod: (pod.created_at, pod.version))


def _has_begun(pod: ObservedPod) -> bool:
    return pod.started_at is not None or pod.ended
