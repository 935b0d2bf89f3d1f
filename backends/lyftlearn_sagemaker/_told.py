"""What one watch has said of each job it follows, so that it says what is new, and asks about nothing it knows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker._status import ANEW, event_of_summary

_MOST_REMEMBERED = 20_000
_FRESH = timedelta(minutes=10)  # what happened since is a short list
CLOCKS = timedelta(minutes=5)  # by which this machine's clock and AWS's may differ (signatures fail beyond)
_RANK = {status: rank for rank, status in enumerate(JobStatus)}


class Accepted:
    """The jobs that this process has just submitted: a watch need not ask what they are."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, JobEvent] = OrderedDict()

    def note(self, event: JobEvent) -> None:
        """Remember a job that was accepted."""
        self._events[event.job_id] = event
        while len(self._events) > _MOST_REMEMBERED:
            self._events.popitem(last=False)

    def event(self, job_id: str) -> JobEvent | None:
        """Return what is known of a job since it was accepted, if that is not long ago."""
        event = self._events.get(job_id)
        return event if event and datetime.now(UTC) - event.at < _FRESH else None


@dataclass
class Told:
    """The last event that was given of one job. gone: nobody has the job; nothing more is to be said."""

    event: JobEvent | None
    gone: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return self.gone or (self.event is not None and self.event.status.finished)

    @property
    def since(self) -> datetime | None:
        """A moment at which the event was certainly still to come or just true."""
        return self.event.at - CLOCKS if self.event else None

    def news(self, summary: Mapping[str, Any]) -> JobEvent | None:
        """Return the event of a line of ListTrainingJobs if it says something new."""
        event = event_of_summary(summary, self.event.incarnation if self.event else 0)
        if self.event and (event.status, event.incarnation) == (self.event.status, self.event.incarnation):
            return None
        return event

    def went_back(self, summary: Mapping[str, Any]) -> bool:
        """Whether the infrastructure has started the job anew: how often, only Describe tells."""
        if summary.get("SecondaryStatus") in ANEW:
            return True
        event = event_of_summary(summary, 0)
        return self.event is not None and _RANK[event.status] < _RANK[self.event.status]
