"""The log of one node of a job: of its pods, one after the other, from wherever there is more of it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from lyftlearn.backend import Backoff, LogLine
from lyftlearn.errors import JobNotFound, LyftLearnError
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.api.patience import Patience
from lyftlearn_kubernetes.logs import archived
from lyftlearn_kubernetes.logs.pod_log import Outcome, PodLog
from lyftlearn_kubernetes.status import events, jobs, observed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from lyftlearn.backend import LogQuery, StampedLine
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.api.transport import Stream
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

BACKOFF = Backoff(0.1, 2.0, jitter=0.25)
_log = logging.getLogger("lyftlearn")


class NodeLog:
    """Three sources have the log of a node: its pods, the nodes of the cluster, and the storage. The longer wins."""

    def __init__(self, cluster: Cluster, storage_url: str, job_id: str, node: int, query: LogQuery) -> None:
        self._cluster = cluster
        self._storage_url = storage_url
        self._job_id = job_id
        self._node = node
        self._query = query
        self._logs: dict[str, PodLog] = {}
        self._patience = Patience()
        self._lost: dict[str, ObservedPod] = {}
        self._from_storage: set[str] = set()
        self._closed = threading.Event()
        self._stream: Stream | None = None

    def close(self) -> None:
        """End `follow`, from any thread: nobody reads on."""
        self._closed.set()
        self._open(self._stream)

    def available(self) -> Iterator[LogLine]:
        """Yield what there is."""
        job, pods = self._observe()
        texts: dict[str, list[StampedLine]] = {}
        for pod in filter(_has_begun, pods):
            texts[pod.name] = self._read(pod)
            if not pod.has_ended:
                self._check_beginning(pod, texts[pod.name][:1])
        if job.has_finished or job.incarnation or job.elsewhere or any(pod.has_ended for pod in pods):
            self._add_archived(texts)
        self._check(job, texts)
        in_order = sorted(filter(None, texts.values()), key=lambda lines: lines[0].stamp)
        lines = (line for text in in_order for line in text)
        yield from map(self._line, deque(lines, maxlen=self._query.tail))

    def follow(self) -> Iterator[LogLine]:
        """Yield what there is and what comes, until the job has finished and the last line was given."""
        job, pods = self._observe()
        if job.has_finished:
            yield from self.available()
            return
        if self._query.tail is not None:
            yield from self._last_lines(pods)
        ended: set[str] = set()
        pauses = iter(BACKOFF)
        while not self._closed.is_set():
            try:
                job, pods = self._observe()
            except (
                JobNotFound
            ):  # removed, with its pods: what they printed was kept, and who reads it hears why it ends
                yield from self._archived_rest(set())
                raise
            pod = next((pod for pod in pods if pod.uid not in ended), None)
            if pod is None or not _has_begun(pod):
                if events.is_over(job, pods):
                    yield from self._archived_rest(set())
                    self._check(job, {name: [] for name in self._logs})
                    return
                self._closed.wait(next(pauses))
                continue
            pauses = iter(BACKOFF)
            if job.incarnation:
                yield from self._archived_rest({other.name for other in pods})
            if (yield from self._follow_pod(pod)):
                ended.add(pod.uid)

    def _follow_pod(self, pod: ObservedPod) -> Generator[LogLine, None, bool]:
        """Yield the lines of one request; return whether there will be no more of this pod."""
        was_over = pod.has_ended
        outcome = yield from self._lines(pod, self._log_of(pod).lines(pod, follow=not was_over))
        if outcome is Outcome.BROKEN:
            self._pause(self._log_of(pod))
        else:
            self._patience.reset()
        if outcome is Outcome.UNREADABLE:
            self._lost[pod.name] = pod
        return outcome is Outcome.UNREADABLE or (was_over and outcome is Outcome.COMPLETE)

    def _lines(
        self, pod: ObservedPod, reading: Generator[StampedLine, None, Outcome]
    ) -> Generator[LogLine, None, Outcome]:
        is_first = not self._log_of(pod).cursor.last
        while True:
            try:
                line = next(reading)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            self._patience.reset()
            if is_first:
                self._check_beginning(pod, [line])
                is_first = False
            self._check_gap(pod)
            yield self._line(line)

    def _last_lines(self, pods: Iterable[ObservedPod]) -> Iterator[LogLine]:
        """Yield the last lines of now, and note where they end."""
        lines: deque[StampedLine] = deque(maxlen=self._query.tail)
        for pod in filter(_has_begun, pods):
            lines.extend(self._read(pod))
        yield from map(self._line, lines)

    def _read(self, pod: ObservedPod) -> list[StampedLine]:
        """Return a pod's log of now, as far as its node has it."""
        log, lines = self._log_of(pod), []
        while not self._closed.is_set():
            reading = log.lines(pod, tail=self._query.tail)
            try:
                while True:
                    lines.append(next(reading))
            except StopIteration as end:
                if end.value is Outcome.UNREADABLE:
                    self._lost[pod.name] = pod
                if end.value is not Outcome.BROKEN:
                    break
            self._pause(log)
        return lines

    def _pause(self, log: PodLog) -> None:
        """Wait before the next request. Raises what broke the last one, if that lasts for too long."""
        error = log.error or RuntimeError("a log broke without an error")
        pause = self._patience.pause_after(error)
        if pause is None:
            with translate_errors("reading logs"):
                raise error
        self._closed.wait(pause)

    def _add_archived(self, texts: dict[str, list[StampedLine]]) -> None:
        """Put in place of a pod's lines what was kept of it, where that is more."""
        tail = self._query.tail
        try:
            for name, kept in archived.pod_logs(self._storage_url, self._job_id, self._node):
                lines = [line for line in kept if self._query.since is None or line.at >= self._query.since]
                lines = lines if tail is None else lines[max(0, len(lines) - max(1, tail)) :]
                if len(lines) > len(texts.get(name, ())):
                    texts[name] = lines
                self._from_storage.add(name)
        except LyftLearnError as exc:
            if not any(texts.values()):
                raise
            _log.warning("what was kept of the log of %s cannot be read: %s", self._job_id, exc)

    def _archived_rest(self, there: set[str]) -> Iterator[LogLine]:
        """Yield what pods took with them that was kept. there: pods that can still be read themselves."""
        try:
            archives = list(archived.pod_logs(self._storage_url, self._job_id, self._node))
        except LyftLearnError as exc:
            _log.warning("what was kept of the log of %s cannot be read: %s", self._job_id, exc)
            return
        for name, kept in archives:
            if name in there or name in self._from_storage:
                continue
            self._from_storage.add(name)
            log = self._logs.get(name)
            rest = log.cursor.rest_of(kept) if log and log.cursor.last else kept
            lines = [line for line in rest if self._query.since is None or line.at >= self._query.since]
            yield from map(self._line, deque(lines, maxlen=None if log else self._query.tail))

    def _check(self, job: ObservedJob, texts: dict[str, list[StampedLine]]) -> None:
        """Say what is lost; raise if that is all, for an empty log would say that the job printed nothing."""
        lost = [
            name for name in sorted(self._lost) if name not in self._from_storage and self._may_have_begun(name, job)
        ]
        never_seen = job.complete is not None and not texts and not self._from_storage
        has_lines = any(texts.values()) or any(log.cursor.last for log in self._logs.values())
        if never_seen or (lost and not has_lines):
            raise LyftLearnError(
                f"the pods of {self._job_id} are gone, or their nodes have lost its log, and nothing kept it: "
                "set [storage] url to s3://<bucket>/<prefix>, where the logs of later jobs will be kept"
            )
        if lost:
            _log.warning("the log of %s lacks what was printed in %s: nothing kept it", self._job_id, ", ".join(lost))

    def _may_have_begun(self, name: str, job: ObservedJob) -> bool:
        """Return whether a pod whose log cannot be had may have printed something: one stopped early has no log."""
        return job.stop is None or self._lost[name].started_at is not None

    def _check_beginning(self, pod: ObservedPod, first: list[StampedLine]) -> None:
        """Say that a pod's first lines are gone, if they are: a node keeps the newest file of a log."""
        if not first or self._query.tail is not None or self._query.since:
            return
        try:
            is_late = archived.has_lost_its_beginning(self._storage_url, self._job_id, pod.name, first[0])
        except LyftLearnError as exc:
            _log.debug("whether the log of %s is whole cannot be read: %s", pod.name, exc)
            return
        if is_late:
            self._log_of(pod).cursor.whole = False
            _log.warning(
                "the log of %s begins at %s: its node has dropped what was printed before. "
                "The whole log can be read once the job has ended",
                pod.name,
                f"{first[0].at:%H:%M:%S} UTC",
            )

    def _check_gap(self, pod: ObservedPod) -> None:
        """Say that lines are missing that a pod printed while its log could not be read."""
        cursor = self._log_of(pod).cursor
        if cursor.gap is None:
            return
        before, after = (f"{line.at:%H:%M:%S} UTC" for line in cursor.gap)
        cursor.gap = None
        _log.warning(
            "the log of %s lacks lines from %s to %s: while nobody could read it, its node has dropped them. "
            "The whole log can be read once the job has ended",
            pod.name,
            before,
            after,
        )

    def _log_of(self, pod: ObservedPod) -> PodLog:
        if pod.name not in self._logs:
            self._logs[pod.name] = PodLog(self._cluster, self._query.since, self._open)
        return self._logs[pod.name]

    def _open(self, stream: Stream | None) -> None:
        """Note the stream in use, and close it if `close` came before there was anything to close."""
        self._stream = stream
        if stream is not None and self._closed.is_set():
            stream.close()

    def _line(self, line: StampedLine) -> LogLine:
        return LogLine(self._node, line.at, line.text.decode("utf-8", "replace"))

    def _observe(self) -> tuple[ObservedJob, list[ObservedPod]]:
        """Return the job and the pods of this node, oldest first; outages are waited for."""
        while True:
            try:
                job = observed.job(jobs.fetch(self._cluster, self._job_id))
                pods = [pod for pod in jobs.pods_of(self._cluster, self._job_id) if pod.node == self._node]
                return job, sorted(pods, key=lambda pod: (pod.created_at, pod.version))
            except JobNotFound:
                raise
            except LyftLearnError as exc:
                pause = self._patience.pause_after(exc) if self._query.follow else None
                if pause is None or self._closed.is_set():
                    raise
                self._closed.wait(pause)


def _has_begun(pod: ObservedPod) -> bool:
    return pod.started_at is not None or pod.has_ended
