"""What one watch has reported of each job it follows: only news is reported, and nothing known is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.status.events import RESTARTING, event_of_summary

_MOST_REMEMBERED = 20_000
RECENT = timedelta(minutes=10)  # what happened since is a short list
CLOCKS = timedelta(minutes=5)  # by which this machine's clock and AWS's may differ (signatures fail beyond)
_RANK = {status: rank for rank, status in enumerate(JobStatus)}


class RecentSubmissions:
    """The jobs that this process has just submitted: a watch need not ask what they are."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, JobEvent] = OrderedDict()

    def add(self, event: JobEvent) -> None:
        """Remember a job that was accepted."""
        self._events[event.job_id] = event
        while len(self._events) > _MOST_REMEMBERED:
            self._events.popitem(last=False)

    def event(self, job_id: str, age: timedelta = RECENT) -> JobEvent | None:
        """Return the event by which a job was accepted, if that is not longer ago than `age`."""
        event = self._events.get(job_id)
        return event if event and datetime.now(UTC) - event.at < age else None


@dataclass
class TrackedJob:
    """The last event that was reported of one job. gone: SageMaker has no such job, so nothing can follow."""

    event: JobEvent | None
    gone: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing can follow."""
        return self.gone or (self.event is not None and self.event.status.finished)

    @property
    def certainly_before(self) -> datetime | None:
        """A moment at which the event was certainly still to come or just true."""
        return self.event.at - CLOCKS if self.event else None

    def event_if_new(self, summary: Mapping[str, Any]) -> JobEvent | None:
        """Return the event of a line of ListTrainingJobs if it is news."""
        event = event_of_summary(summary, self.event.incarnation if self.event else 0)
        if self.event and (event.status, event.incarnation) == (self.event.status, self.event.incarnation):
            return None
        return event

    def has_restarted(self, summary: Mapping[str, Any]) -> bool:
        """Whether the infrastructure has started the job again. How often, only Describe tells."""
        if summary.get("SecondaryStatus") in RESTARTING:
            return True
        event = event_of_summary(summary, 0)
        return self.event is not None and _RANK[event.status] < _RANK[self.event.status]
