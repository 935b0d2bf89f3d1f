"""One poller for all jobs of a process: ListTrainingJobs by time of change, not a question for each job.

An account gets two ListTrainingJobs a second, whoever asks. A poll reads the jobs that changed since the last one. It
comes soon after news and ever more seldom while nothing happens. Only the end of a job is asked for by its name, and a
restart by the infrastructure. Beside it, slowly, everything that is followed is looked at again, whatever was missed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import WatchSet
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn_sagemaker.api.client import server_time
from lyftlearn_sagemaker.status.events import has_ended
from lyftlearn_sagemaker.status.shared_lists import Listed, SharedLists, pages_of
from lyftlearn_sagemaker.status.tracked import CLOCKS, RECENT, RecentSubmissions, TrackedJob

if TYPE_CHECKING:
    from lyftlearn_sagemaker.api.client import AwsClient
    from lyftlearn_sagemaker.status.finder import Finder

_CHANCE = random.SystemRandom()  # not the caller's, which a script may have seeded
LIST_PAUSE = 0.5  # seconds between two lists: the account's limit is two a second
_LONGEST_PAUSE = 15.0
_GROWTH = 1.5
_OVERLAP = timedelta(seconds=10)  # changes that become visible late
RECONCILE_EVERY = 300.0
_DESCRIBED_SINGLY = 10  # unknown jobs that are described; more of them are looked for in the list first
_PAGE = 100
_MOST_PAGES = 3  # of changes, at two a second, before the few jobs that are followed are described instead


class Poller:
    """The events of followed jobs, from lists."""

    def __init__(
        self,
        aws: AwsClient,
        finder: Finder,
        recent: RecentSubmissions,
        following: WatchSet,
        *,
        recent_age: timedelta = RECENT,
        shared: SharedLists | None = None,
    ) -> None:
        self._aws = aws
        self._finder = finder
        self._recent = recent
        self._recent_age = recent_age
        self._following = following
        self._jobs: dict[str, TrackedJob] = {}
        self._known_ids: frozenset[str] = frozenset()
        self._horizon: datetime | None = None
        self._next_list = 0.0
        self._reconcile_at = time.monotonic() + RECONCILE_EVERY
        self._crowded = False
        self._service_jobs = finder.service_jobs
        self._shared = shared
        self._list_pause = 1 / shared.rate if shared else LIST_PAUSE
        self._summaries: dict[str, tuple[str, ...]] = {}
        self.pause = self._list_pause

    def poll(self) -> Iterator[JobEvent]:
        """Yield what is new, once."""
        yield from self.newcomers()
        news = False
        for event in chain(self._changes(), self.changes_in_queues()):
            news = True
            yield event
        self.pause = self._list_pause if news else min(self.pause * _GROWTH, _LONGEST_PAUSE)
        yield from self.reconcile()

    def newcomers(self) -> Iterator[JobEvent]:
        """Yield an event for each job that is followed only now."""
        ids = self._known_ids = self._following.ids
        for gone in self._jobs.keys() - ids:
            del self._jobs[gone]
            self._summaries.pop(gone, None)
        for job_id in ids - self._jobs.keys():
            self.pause = self._list_pause
            event = self._recent.event(job_id, self._recent_age)
            self._jobs[job_id] = job = TrackedJob(event)
            if event is not None:
                self._look_back_to(job.certainly_before)
                yield event
        yield from self._find_unknown([job_id for job_id in ids if self._jobs[job_id] == TrackedJob(None)])

    def last_event(self, job_id: str) -> JobEvent | None:
        """Return what was last heard of a followed job."""
        job = self._jobs.get(job_id)
        return job.event if job else None

    def now(self) -> datetime:
        """Return AWS's time: this machine's clock may be wrong."""
        return self._aws.now()

    def report(self, event: JobEvent) -> Iterator[JobEvent]:
        """Yield an event, if it is news of a job that is followed and has not ended for this watch."""
        job = self._jobs.get(event.job_id)
        if job is not None and not job.finished and event != job.event:
            job.event = event
            yield event

    def reconcile(self) -> Iterator[JobEvent]:
        """Yield, every few minutes, what was missed."""
        if time.monotonic() < self._reconcile_at:
            return
        self._reconcile_at = time.monotonic() + RECONCILE_EVERY * _CHANCE.uniform(0.8, 1.2)
        unseen = set(self._open_jobs)
        if unseen and not self._shared:
            yield from self._read(self._not_older(), until=unseen)
        for job_id in unseen & self._following.ids:
            yield from self._describe(job_id)

    def wait(self) -> None:
        """Sleep until the next poll, or until other jobs are followed."""
        jittered = self.pause * _CHANCE.uniform(0.8, 1.2)
        self._following.wait_for_change(jittered, self._known_ids)

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to hear of."""
        return all(job.finished for job in self._jobs.values())

    def is_gone(self, job_id: str) -> bool:
        """Whether SageMaker has no such job any more."""
        job = self._jobs.get(job_id)
        return job is not None and job.gone

    def _look_back_to(self, moment: datetime | None) -> None:
        if moment is not None:
            self._horizon = min(moment, self._horizon or moment)

    def _find_unknown(self, unknown: list[str]) -> Iterator[JobEvent]:
        """Yield the events of jobs that another process submitted: from the list where they are many."""
        if len(unknown) > _DESCRIBED_SINGLY and not self._shared:
            yield from self._read({}, until=set(unknown))
        for job_id in unknown:
            if self._jobs.get(job_id, TrackedJob(None, gone=True)) == TrackedJob(None):
                yield from self._describe(job_id)

    def _describe(self, job_id: str) -> Iterator[JobEvent]:
        self._look_back_to(self.now() - CLOCKS)
        try:
            yield from self.report(self._finder.record(job_id).event)
        except JobNotFound as error:
            self._jobs[job_id] = TrackedJob(None, gone=True)
            self._following.report_absence(job_id, error)

    def changes_in_queues(self) -> Iterator[JobEvent]:
        """Yield what is new of the jobs in queues of Batch: of those that wait, their places."""
        queued = self._service_jobs.queues_of(self._open_jobs)
        for queue in sorted(set(queued.values())):
            followed = {job_id for job_id, its_queue in queued.items() if its_queue == queue}
            events = [event for job_id in followed if (event := self._jobs[job_id].event)]
            created = [event.created_at or event.at for event in events] or [self.now() - timedelta(days=1)]
            summaries = list(self._service_jobs.since(queue, min(created) - CLOCKS))
            waits = any(one.get("status") == "RUNNABLE" and one["jobName"] in followed for one in summaries)
            places = self._service_jobs.places(queue) if waits else {}
            for summary in summaries:
                if summary["jobName"] in followed:
                    yield from self._of_service_job(summary, places)

    def _of_service_job(self, summary: Mapping[str, Any], places: Mapping[str, int]) -> Iterator[JobEvent]:
        """Yield the event of a line of ListServiceJobs, which is asked for where it may be another."""
        job_id, status = summary["jobName"], summary.get("status", "")
        seen = (
            status,
            str(summary.get("latestAttempt")),
            str(places.get(summary.get("jobArn", ""))),
            str("isTerminated" in summary),
            str(summary.get("statusReason")),
        )
        if self._summaries.get(job_id) == seen and status not in ("SCHEDULED", "STARTING"):
            return
        service_job = self._service_jobs.describe(summary["jobId"])
        training = self._service_jobs.training_job(service_job)
        yield from self.report(self._service_jobs.event(service_job, training, places))
        self._summaries[job_id] = seen

    def _changes(self) -> Iterator[JobEvent]:
        if not self._open_jobs - self._service_jobs.queues_of(self._open_jobs).keys():
            return
        if self._shared:
            yield from self._shared_changes(self._shared)
            return
        if self._crowded and len(self._open_jobs) <= _DESCRIBED_SINGLY:
            yield from self._describe_open()
            return
        if self._open_jobs:
            since = {"LastModifiedTimeAfter": self._horizon} if self._horizon else {}
            yield from self._read({**self._not_older(), **since}, of_changes=True)

    def _describe_open(self) -> Iterator[JobEvent]:
        for job_id in self._open_jobs:
            yield from self._describe(job_id)

    def _shared_changes(self, shared: SharedLists) -> Iterator[JobEvent]:
        """Yield what is new in the list that all processes share. Without it, a few jobs are described, seldom."""
        created = self._not_older()["CreationTimeAfter"] if self._not_older() else self.now() - CLOCKS
        summaries = shared.changes(created, self._list_for_all)
        if summaries is None:
            self.pause = _LONGEST_PAUSE
            if len(self._open_jobs) <= _DESCRIBED_SINGLY:
                yield from self._describe_open()
            return
        for summary in summaries:
            yield from self._of_summary(summary)

    def _list_for_all(self, since: datetime, created: datetime) -> Listed:
        """List what changed since a moment, whoever follows it."""
        conditions = {"LastModifiedTimeAfter": since - _OVERLAP, "CreationTimeAfter": created}
        request = {"MaxResults": _PAGE, "SortBy": "CreationTime", "SortOrder": "Descending", **conditions}
        pages = list(pages_of(self._list, request))
        summaries = [summary for page in pages for summary in page["TrainingJobSummaries"]]
        return Listed(summaries, server_time(pages[0]) or self.now(), len(pages))

    @property
    def _open_jobs(self) -> frozenset[str]:
        return frozenset(job_id for job_id, job in self._jobs.items() if not job.finished)

    def _not_older(self) -> dict[str, Any]:
        """Return the condition that bounds a list however the service applies its others: some only to cut pages."""
        events = [job.event for job in self._jobs.values() if job.event and not job.finished]
        created = [event.created_at or event.at for event in events]
        return {"CreationTimeAfter": min(created) - CLOCKS} if created else {}

    def _read(
        self,
        conditions: dict[str, Any],
        *,
        until: set[str] | None = None,
        of_changes: bool = False,
    ) -> Iterator[JobEvent]:
        """Read a list to its end, or until all of `until` was seen and taken out; an empty page is not the end.

        of_changes: the list is of all that changed. Where that is much, because others' jobs change, it is given up:
        the few that are followed here are described instead, which costs others nothing of the account's list rate.
        """
        request = {"MaxResults": _PAGE, "SortBy": "CreationTime", "SortOrder": "Descending", **conditions}
        began: datetime | None = None
        for number in count(1):
            if self._following.closed:
                return
            page = self._list(request)
            began = began or server_time(page) or self.now()
            for summary in page["TrainingJobSummaries"]:
                yield from self._of_summary(summary)
                if until is not None:
                    until.discard(summary["TrainingJobName"])
            if not page.get("NextToken") or until == set():
                break
            if of_changes and number == _MOST_PAGES and len(self._open_jobs) <= _DESCRIBED_SINGLY:
                self._crowded = True
                return
            request["NextToken"] = page["NextToken"]
        if of_changes and began is not None:
            self._horizon = began - _OVERLAP

    def _of_summary(self, summary: Mapping[str, Any]) -> Iterator[JobEvent]:
        job = self._jobs.get(summary["TrainingJobName"])
        if job is None or job.finished:
            return
        if has_ended(summary) or job.has_restarted(summary):
            yield from self._describe(summary["TrainingJobName"])
            return
        event = job.event_if_new(summary)
        if event:
            job.event = event
            yield event

    def _list(self, request: dict[str, Any]) -> Mapping[str, Any]:
        """Send one list, no sooner than the account's limit allows: counted from an answer, as requests may be slow."""
        while not self._following.closed and time.monotonic() < self._next_list:
            self._following.wait_for_change(self._next_list - time.monotonic())
        try:
            page: Mapping[str, Any] = self._aws.call("sagemaker", "list_training_jobs", request)
        finally:
            self._next_list = time.monotonic() + self._list_pause
        return page
