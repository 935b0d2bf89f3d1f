"""The events of followed jobs, from the changes in their namespace."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import JobNotFound, LyftLearnError
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS, PODS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.api.patience import Patience
from lyftlearn_kubernetes.status import events, informer, jobs, observed

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from lyftlearn.backend import WatchSet
    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.deadlines import DeadlineEnforcer
    from lyftlearn_kubernetes.status.jobs import JobObserver
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

FEW = 20  # up to so many jobs are asked for one by one; more are found in the list of all
TICK = 1.0
PODS_LATER = 0.1  # seconds that the watch of pods may lag behind that of Jobs before it is asked for them
BOTH = 2  # the watches of Jobs and of pods
_log = logging.getLogger("lyftlearn")


class JobWatcher:
    """One call of `Backend.watch`. known: jobs that this process has seen, so a missing one is lost."""

    def __init__(
        self, cluster: Cluster, observer: JobObserver, enforcer: DeadlineEnforcer, known: set[str], silence: float
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._enforcer = enforcer
        self._known = known
        self._silence = silence
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._jobs: dict[str, ObservedJob] = {}
        self._pods: dict[str, tuple[ObservedPod, ...]] = {}  # of thousands of jobs, most of which have one
        self._gone: set[str] = set()  # jobs that were seen to be deleted before they had finished
        self._absent: set[str] = set()  # jobs that are not there, and nobody knows how they ended
        # Of these two the keys count: they may be thousands, of which a set takes twice as much memory.
        self._whole: dict[str, None] = {}  # jobs of which everything is known, from their beginning or by asking
        self._touched: dict[str, None] = {}
        self._reported: dict[str, JobEvent] = {}
        self._caught_up: frozenset[str] | None = None  # those that were followed when nothing was left to ask for
        self._held_back: dict[str, float] = {}
        self._left = threading.Event()
        self._began = 0
        self._patience = Patience()

    def events(self, following: WatchSet) -> Iterator[JobEvent]:
        """Yield what becomes of the followed jobs until `following` is closed."""
        if following.closed:
            return
        feeds = informer.start(self._cluster, self._queue, self._silence)
        threading.Thread(target=self._listen, args=(following,), daemon=True, name="lyftlearn-following").start()
        try:
            while not following.closed:
                ticked = self._take_all()
                yield from self._look(following.ids, ticked=ticked)
                self._report_absences(following)
        finally:
            self._left.set()
            for feed in feeds:
                feed.close()

    def _report_absences(self, following: WatchSet) -> None:
        """Say which jobs are not there: removed after their time, or deleted while nobody watched."""
        for job_id in self._absent & following.ids:
            following.report_absence(job_id, jobs.not_found_error(self._cluster, job_id))
        self._absent.clear()

    def _listen(self, following: WatchSet) -> None:
        """Wake the loop when somebody follows another job, or none any more, and now and then."""
        while not (following.closed or self._left.is_set()):
            ids = following.ids
            self._queue.put(None)
            following.wait_for_change(TICK, ids)
        self._queue.put(None)

    def _take_all(self) -> bool:
        """Take in what came, waiting for the first; whether time has passed or other jobs are followed."""
        ticked = False
        with suppress(Empty):
            ticked = self._take(self._queue.get(timeout=self._seconds_until_due()))
        while True:
            try:
                ticked = self._take(self._queue.get_nowait()) or ticked
            except Empty:
                return ticked

    def _take(self, news: Any) -> bool:
        if isinstance(news, informer.WatchEvent):
            if news.kind == JOBS:
                self._take_job(news)
            else:
                self._take_pod(news)
            return False
        if isinstance(news, Exception):
            with translate_errors("watching jobs"):
                raise news
        if isinstance(news, informer.Relist):
            self._began += 1
            self._whole.clear()
        return True

    def _take_job(self, change: informer.WatchEvent) -> None:
        job: ObservedJob = change.item
        known = self._jobs.get(job.id)
        if known is not None and known.uid == job.uid and job.version < known.version:
            return
        self._touched[job.id] = None
        if change.deleted and not job.has_finished:
            self._jobs.pop(job.id, None)
            self._gone.add(job.id)
            return
        self._jobs[job.id] = job
        if change.added and self._began >= BOTH:
            self._whole[job.id] = None

    def _take_pod(self, change: informer.WatchEvent) -> None:
        pod: ObservedPod = change.item
        known = self._pods_of(pod.job_id)
        if any(other.uid == pod.uid and other.version > pod.version for other in known):
            return
        self._keep_pods(pod.job_id, [] if change.deleted and not pod.has_ended else [pod], without=pod.uid)
        self._touched[pod.job_id] = None

    def _keep_pods(self, job_id: str, pods: Sequence[ObservedPod], without: str = "") -> None:
        """Keep what is known of pods, in place of what was known of them and of the one `without`."""
        uids = {without, *(pod.uid for pod in pods)}
        self._pods[job_id] = (*(other for other in self._pods_of(job_id) if other.uid not in uids), *pods)

    def _fetch_pods(self, job_id: str) -> None:
        self._forget_running_pods(job_id)
        self._keep_pods(job_id, jobs.pods_of(self._cluster, job_id))

    def _forget_running_pods(self, job_id: str) -> None:
        """Keep how pods ended, which may be gone by now; of the others only an answer tells whether they are there."""
        self._pods[job_id] = tuple(pod for pod in self._pods_of(job_id) if pod.has_ended)

    def _look(self, ids: frozenset[str], *, ticked: bool) -> Iterator[JobEvent]:
        if self._began < BOTH:
            return
        try:
            self._catch_up(ids, ticked=ticked)
            yield from self._dispatch_touched(ids)
            self._patience.reset()
        except LyftLearnError as exc:
            if self._patience.pause_after(exc) is None:
                raise
            _log.info("%s; it is tried again", exc)

    def _catch_up(self, ids: frozenset[str], *, ticked: bool) -> None:
        if ids is self._caught_up and not ticked:
            return
        unfinished = [job_id for job_id in ids if not self._has_ended(job_id)]
        self._fetch(set(_without(unfinished, self._whole)))
        self._touched.update(dict.fromkeys(_without(unfinished, self._reported)))
        if ticked:
            self._forget(ids)
            for job_id in unfinished:
                if job_id in self._jobs:
                    self._look_at_the_clock(job_id)
        self._caught_up = ids

    def _look_at_the_clock(self, job_id: str) -> None:
        """End a job that has waited for too long, and look anew at one to which time itself happens."""
        pods = self._pods_of(job_id)
        job = self._enforcer.end_if_overdue(self._jobs[job_id], pods)
        changes = job.failure or (job.suspended and job.queue) or not pods or any(pod.deleted for pod in pods)
        if job is not self._jobs[job_id] or changes:
            self._jobs[job_id] = job
            self._touched[job_id] = None

    def _forget(self, ids: frozenset[str]) -> None:
        """Drop what nobody follows, but for jobs that run or were submitted here: who follows them may come later."""
        for job_id in _without(_without(self._jobs, ids), self._known):
            if self._jobs[job_id].has_finished:
                del self._jobs[job_id]
        for job_id in _without(_without(self._pods, self._jobs), ids):
            del self._pods[job_id]
        for job_id in _without(self._reported, ids):
            del self._reported[job_id]
        self._gone &= ids
        for job_id in _without(self._whole, self._jobs):
            del self._whole[job_id]

    def _fetch(self, ids: set[str]) -> None:
        """Ask for jobs that were there before the watch."""
        if len(ids) > FEW:
            self._fetch_many(ids)
        else:
            for job_id in ids:
                self._fetch_one(job_id)
        self._whole.update(dict.fromkeys(ids))
        self._touched.update(dict.fromkeys(ids))
        self._absent |= ids - self._jobs.keys() - self._gone

    def _fetch_one(self, job_id: str) -> None:
        try:
            found = list(observed.each(observed.job, [jobs.fetch(self._cluster, job_id)]))
        except JobNotFound:
            found = []
        if not found:
            self._jobs.pop(job_id, None)
            return
        self._jobs[job_id] = found[0]
        self._known.add(job_id)
        self._fetch_pods(job_id)

    def _fetch_many(self, ids: set[str]) -> None:
        listed: set[str] = set()
        with translate_errors("listing jobs"):
            for job in observed.each(observed.job, self._cluster.list(JOBS, labels=labels.SELECTOR)):
                if job.id in ids:
                    self._jobs[job.id] = job
                    listed.add(job.id)
            for job_id in ids:
                self._forget_running_pods(job_id)
            for pod in observed.each(observed.pod, self._cluster.list(PODS, labels=labels.SELECTOR)):
                if pod.job_id in ids:
                    self._keep_pods(pod.job_id, [pod])
        self._known |= listed
        for job_id in ids - listed:
            self._fetch_one(job_id)

    def _dispatch_touched(self, ids: frozenset[str]) -> Iterator[JobEvent]:
        """Tell what is known. It asks for the pods of one job at most: news of the others may come meanwhile."""
        fetched = False
        for job_id in tuple(self._touched):
            if job_id in ids and not self._has_ended(job_id):
                if self._lacks_pods(job_id):
                    if fetched or self._is_early(job_id):
                        continue
                    fetched = True
                yield from self._dispatch(job_id)
            self._touched.pop(job_id, None)
            self._held_back.pop(job_id, None)

    def _has_ended(self, job_id: str) -> bool:
        """Whether the job's end was reported."""
        reported = self._reported.get(job_id)
        return reported is not None and reported.status.finished

    def _lacks_pods(self, job_id: str) -> bool:
        job = self._jobs.get(job_id)
        return job is not None and events.lacks_pods(job, self._pods_of(job_id))

    def _is_early(self, job_id: str) -> bool:
        """Whether a Job has ended just now; its pods, of which the other watch tells, will be heard of in a moment."""
        now = time.monotonic()
        return now < self._held_back.setdefault(job_id, now + PODS_LATER)

    def _seconds_until_due(self) -> float | None:
        """Return the seconds until something must be done without news."""
        return max(0.0, min(self._held_back.values()) - time.monotonic()) if self._held_back else None

    def _dispatch(self, job_id: str) -> Iterator[JobEvent]:
        event = self._event(job_id)
        reported = self._reported.get(job_id)
        if event is None or (reported is not None and replace(event, at=reported.at) == reported):
            return
        self._reported[job_id] = event
        if event.status.finished:
            self._known.discard(job_id)
            self._jobs.pop(job_id, None)
            self._pods.pop(job_id, None)
        yield event

    def _event(self, job_id: str) -> JobEvent | None:
        job = self._jobs.get(job_id)
        if job is None:
            return events.lost_job(job_id, self._cluster.now()) if job_id in self._gone else None
        if events.lacks_pods(job, self._pods_of(job_id)):
            self._fetch_pods(job_id)
        return self._observer.event(job, self._pods_of(job_id))

    def _pods_of(self, job_id: str) -> tuple[ObservedPod, ...]:
        return self._pods.get(job_id, ())


def _without(ids: Iterable[str], others: Container[str]) -> list[str]:
    """Return the ids that are not among others; a set of thousands takes six times as much memory as a list."""
    return [job_id for job_id in ids if job_id not in others]
