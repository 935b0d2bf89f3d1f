"""The collector: it follows every job that the history knows no end of, and writes the ends down.

Organisations whose clients come and go need one. One is enough: whoever holds the lease follows, and any other waits
for it. None is needed: whoever reads the history asks for the ends that are missing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn._contract.signal_event import SignalEvent
from lyftlearn.backend import JobQuery
from lyftlearn.errors import JobNotFound, LyftLearnError
from lyftlearn.events import JobEvent, ObservedState, advance
from lyftlearn.history import costing
from lyftlearn.history.row_lines import row_of_record
from lyftlearn.history.settle import absent_for, outcome, without_history
from lyftlearn.history.tables import jobs
from lyftlearn.history.timings import timings_rows

if TYPE_CHECKING:
    from lyftlearn._jobs.watcher import SharedWatch
    from lyftlearn._registry import Registry
    from lyftlearn.config import Config
    from lyftlearn.history.recorder import HistoryRecorder
    from lyftlearn.history.store import History

LEASE = "collector"
_SECONDS_OF_LEASE = 60.0
_PACE = 15.0
"""Seconds between two looks at the history: four renewals of a lease."""
_SECONDS_BETWEEN_LISTS = 300.0
_LISTED = timedelta(days=1)
_MOST_FOLLOWED = 20_000
_SECONDS_TO_COUNT = 5.0
_log = logging.getLogger("lyftlearn")


class Collector:
    """One collector. watch: gives the shared watch of a job. in_use: the backends whose jobs are listed."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        recorder: HistoryRecorder,
        watch: Callable[[str], SharedWatch],
        in_use: Callable[[], Any],
    ) -> None:
        self._config = config
        self._registry = registry
        self._recorder = recorder
        self._watch = watch
        self._in_use = in_use
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self.leads = False
        self.ended = 0
        self.adopted = 0
        self.errors = 0
        self.looked_at: float | None = None
        self._followed: dict[str, _Followed] = {}
        self._listed_at = float("-inf")
        self._changed = SignalEvent()

    @property
    def open_jobs(self) -> int:
        """How many jobs it follows."""
        return len(self._followed)

    @property
    def is_healthy(self) -> bool:
        """Whether it has reached the history lately."""
        return self.looked_at is not None and time.monotonic() - self.looked_at < 4 * _PACE + _SECONDS_OF_LEASE

    def run(self, stopped: SignalEvent) -> None:
        """Collect until `stopped`. What goes wrong is logged, and tried again."""
        while not stopped.is_set():
            try:
                self.step()
            except Exception as exc:  # noqa: BLE001 - a database that is away for a night is no reason to end
                self.errors += 1
                _log.warning("collecting: %s: %s", type(exc).__name__, exc)
            self._changed.wait(_PACE)
            self._changed.clear()
        self.close()

    def step(self) -> None:
        """Look at the history once: take or renew the lease, follow what is open, and write down what has ended."""
        history = self._recorder.history()
        self.leads = history.hold(LEASE, self.holder, _SECONDS_OF_LEASE)
        if not self.leads:
            self._unfollow(set(self._followed))
        else:
            self._write_ends(history)
            self._adopt(history)
            self._follow(history)
            self._write_ends(history)
            costing.count_costs(history, costing.PriceBook(self._config, self._registry), None, _SECONDS_TO_COUNT)
        self.looked_at = time.monotonic()

    def wake(self) -> None:
        """Look at once: something has ended, or the process is to."""
        self._changed.notify()

    def close(self) -> None:
        """Let go of the jobs and of the lease, so that another collector need not wait."""
        self._unfollow(set(self._followed))
        if self.leads:
            self.leads = False
            self._recorder.open().hold(LEASE, self.holder, 0.0)

    def _follow(self, history: History) -> None:
        """Follow what is open, and nothing else."""
        query = sa.select(jobs.c.job_id, jobs.c.at).where(jobs.c.status.is_(None))
        is_open = history.select(query.order_by(jobs.c.at.desc(), jobs.c.job_id).limit(_MOST_FOLLOWED))
        self._unfollow(self._followed.keys() - {row["job_id"] for row in is_open})
        for row in is_open:
            if row["job_id"] not in self._followed:
                try:
                    watch = self._watch(row["job_id"])
                    gone_at = row["at"] + absent_for(history, watch.backend)
                    self._followed[row["job_id"]] = _Followed(row["job_id"], gone_at, watch, self.wake)
                except LyftLearnError as exc:  # of a backend that is not installed here
                    _log.info("%s is not followed: %s", row["job_id"], exc)

    def _unfollow(self, job_ids: set[str]) -> None:
        for job_id in job_ids:
            self._followed.pop(job_id).leave()

    def _write_ends(self, history: History) -> None:
        ends = {job_id: end for job_id, followed in self._followed.items() if (end := followed.end()) is not None}
        if ends:
            history.record(*ends.values())
            history.record(*timings_rows(self._registry, list(ends)))
            self.ended += len(ends)
            self._unfollow(set(ends))

    def _adopt(self, history: History) -> None:
        """Enter jobs that no client could: those of a container whose file went with it, and trials of a search."""
        if time.monotonic() - self._listed_at < _SECONDS_BETWEEN_LISTS:
            return
        self._listed_at = time.monotonic()
        since = datetime.now(UTC) - _LISTED
        known = {row["job_id"] for row in history.select(sa.select(jobs.c.job_id).where(jobs.c.at >= since - _LISTED))}
        for name in self._in_use():
            try:
                records = list(self._registry.get(name).list(JobQuery(since=since)))
            except LyftLearnError as exc:
                _log.warning("the jobs of %s cannot be listed: %s", name, exc)
                continue
            found = [row_of_record(record, name) for record in records if record.id not in known]
            history.record(*found)
            self.adopted += len(found)

    def metrics(self) -> str:
        """Return its figures as Prometheus reads them: https://prometheus.io/docs/instrumenting/exposition_formats/."""
        figures: Mapping[str, tuple[str, str, float]] = {
            "leads": ("gauge", "Whether this collector holds the lease.", self.leads),
            "open_jobs": ("gauge", "Jobs that it follows.", self.open_jobs),
            "ended_total": ("counter", "Ends that it wrote down.", self.ended),
            "adopted_total": ("counter", "Jobs that it found with their backends and entered.", self.adopted),
            "errors_total": ("counter", "Looks at the history that went wrong.", self.errors),
        }
        lines = []
        for name, (kind, text, value) in figures.items():
            full = f"lyftlearn_collector_{name}"
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {int(value)}"]
        return "\n".join([*lines, ""])


class _Followed:
    """A job whose end is awaited. gone_at: from when on it is gone, if its backend does not know it."""

    def __init__(self, job_id: str, gone_at: datetime, watch: SharedWatch, wake: Callable[[], None]) -> None:
        self._id = job_id
        self._gone_at = gone_at
        self._wake = wake
        self._progress: ObservedState | None = None
        self._is_absent = False
        self.leave = watch.listen(job_id, self._hear)

    def end(self) -> Any:
        """Return the row of its end; None while it goes on."""
        if self._progress is not None and self._progress.state.status.finished:
            return outcome(self._id, self._progress.state)
        if self._is_absent and datetime.now(UTC) > self._gone_at:
            return without_history(self._id, "unknown")
        return None

    def _hear(self, news: JobEvent | LyftLearnError) -> None:
        if isinstance(news, JobEvent):
            self._progress, self._is_absent = advance(self._progress, news), False
            if self._progress.state.status.finished:
                self._wake()
        else:
            self._is_absent = isinstance(news, JobNotFound)
