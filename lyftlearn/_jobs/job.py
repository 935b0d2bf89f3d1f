"""Handles on jobs."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import BackendUnavailable, InvalidJob, JobFailed, JobNotFound, JobStopped, LyftLearnError
from lyftlearn.types import Duration, JobKind, JobState, JobStatus

if TYPE_CHECKING:
    from lyftlearn._contract.fault import Fault
    from lyftlearn._jobs.watcher import SharedWatch
    from lyftlearn.backend import JobRecord, LogLine, LogQuery, NotebookAddress, Timings
    from lyftlearn.events import JobEvent, ObservedState

_log = logging.getLogger("lyftlearn")
_observing = threading.Lock()  # one for all handles: each holds it for microseconds


def _observe_anew() -> None:
    """Take a new lock in a forked child: a thread of its parent may have held this one, and is not there."""
    global _observing  # noqa: PLW0603
    _observing = threading.Lock()


os.register_at_fork(after_in_child=_observe_anew)


_ID = "\0"  # in place of a job's id, in what many jobs share


def _without_id(outputs: Mapping[str, str], job_id: str) -> tuple[tuple[str, str], ...]:
    shared: tuple[tuple[str, str], ...] = _share(
        tuple((name, uri.replace(job_id, _ID)) for name, uri in outputs.items())
    )
    return shared


@lru_cache
def _share(value: Any) -> Any:
    """Return one object for all jobs that are alike."""
    return value


class NoOutputs(dict[str, str]):
    """The outputs of a job that left none; whoever asks for one is told why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __missing__(self, name: str) -> str:
        raise KeyError(f"{name}: {self.reason}")


class Job:
    """A handle on one job. Threads may share it, and any process can make one from the job's id.

    There may be thousands: a handle keeps of its record what is the job's own, and shares the rest.
    """

    __module__ = "lyftlearn"

    id: str
    kind: JobKind
    name: str
    labels: Mapping[str, str]

    _asked = float("-inf")

    def __init__(self, connection: Callable[[str], SharedWatch], record: JobRecord, *, kept: bool = True) -> None:
        """Make a handle. connection: gives the watch of the backend that an id names."""
        self.id, self.kind, self.name = record.id, record.kind, record.name
        self.labels = dict(sorted(record.labels.items()))  # in no substrate's order
        self._connection = connection
        self._digest: str = _share(record.digest)
        self._decision, self._nodes = record.decision, record.nodes
        self._settled = None if record.outputs is None else _without_id(record.outputs, record.id)
        self._kept = kept
        self._observed: ObservedState = _advance(None, record.event)

    @property
    def status(self) -> JobStatus:
        """The status now.

        It asks the backend at most once a second, and sleeps until it may ask again. So a loop such as
        `while job.status == "running"` uses little CPU and sends few requests.
        """
        if not self.state.status.finished:
            time.sleep(self._pause())
            self.refresh()
        return self.state.status

    @property
    def state(self) -> JobState:
        """What was last observed. It never asks the backend."""
        return self._observed.state

    @property
    def outputs(self) -> Mapping[str, str]:
        """The URI of each output, by its name.

        A train job has "model" and "output". What is under a URI is laid out alike on every backend. Only a job that
        succeeds leaves outputs: for a job that failed or was stopped there are none.
        """
        if self.state.status in (JobStatus.FAILED, JobStatus.STOPPED):
            return NoOutputs(f"{self.id} has status {self.state.status}: {_no_outputs(self.state)}")
        settled = self._settled_outputs()
        return self._shared_watch().backend.outputs(self.id) if settled is None else settled

    def refresh(self) -> JobState:
        """Ask the backend now, and return the state. Raises JobNotFound when the backend keeps the job no more."""
        self._asked = time.monotonic()
        self._observe(self._shared_watch().describe(self.id).event)
        self._kept = True
        return self.state

    def wait(self, timeout: Duration | None = None, *, check: bool = True, progress: bool | None = None) -> JobState:
        """Wait until the job has finished, and return its state.

        timeout: how long to wait. Raises WaitTimeout then; the job goes on, as it does on Ctrl-C.
        check: whether to raise JobFailed or JobStopped if the job did not succeed.
        progress: whether to show a live status line; by default if standard error is a terminal or a notebook.
        """
        from lyftlearn._jobs.wait import wait  # noqa: PLC0415 - brings what draws

        return wait([self], timeout, check=check, progress=progress)[0]

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: Duration | datetime | None = None,
        node: int | None = None,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """Yield the lines that the command printed, each exactly once, in order for each node.

        follow: whether to go on until the job has finished and its last line was read. Dropped connections do not end
            it.
        tail: how many of the last lines of each node to yield.
        since: a time, or a duration before now; earlier lines are left out.
        node: the rank of the one node whose lines to yield.
        timestamps: whether each line begins with its time, by RFC 3339 in UTC.
        """
        from lyftlearn._jobs.arguments import log_query  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        query = log_query(follow, tail, since, node, timestamps=timestamps)
        return (stamp_line(line) if timestamps else line.text for line in self._log_lines(query))

    def stop(self, *, wait: bool = False) -> None:
        """Ask the job to stop. It gets SIGTERM, and SIGKILL after its grace. A finished job stays as it is.

        wait: whether to return only when the job has finished.
        """
        from lyftlearn._jobs.arguments import refuse, switch  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        faults: list[Fault] = []
        switch("wait", wait, faults)
        refuse(faults)
        self._shared_watch().backend.stop(self.id)
        if wait:
            self.wait(check=False, progress=False)

    def download(self, dest: str | PathLike[str], *, output: str | None = None, overwrite: bool = False) -> Path:
        """Download all outputs, or only `output`, and unpack each into `dest/<output>/`. Return `dest`.

        overwrite: whether to replace what is at `dest/<output>`. Without it, the same content may be downloaded again,
            and other content there raises FileExistsError.

        No half-written output is left behind. What was downloaded never becomes part of a source.
        """
        from lyftlearn._jobs import arguments  # noqa: PLC0415 - an import of lyftlearn does not pay for it
        from lyftlearn._transfer.download import fetch_output  # noqa: PLC0415 - brings archives and S3

        faults: list[Fault] = []
        target = arguments.directory("dest", dest, faults)
        arguments.switch("overwrite", overwrite, faults)
        outputs = self.outputs
        if outputs and output is not None:
            arguments.one_of("output", output, outputs, faults)
        arguments.refuse(faults)
        self._check_succeeded()
        for name in [output] if output is not None else list(outputs):
            fetch_output(outputs[name], target / name, overwrite=overwrite, absent_is_empty=True)
        return Path(dest)

    def _check_succeeded(self) -> None:
        """Raise InvalidJob for a job without outputs."""
        state = self.state if self.state.status.finished else self.refresh()
        if state.status is not JobStatus.SUCCEEDED:
            raise InvalidJob([("outputs", f"{self.id} has status {state.status}: {_no_outputs(state)}")])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {self.state.status}>"

    def _repr_html_(self) -> str:
        from lyftlearn._jobs.views import job_html  # noqa: PLC0415 - only notebooks show it

        return job_html(self, self._shared_watch().backend.link(self.id), self._final_timings())

    @property
    def _record(self) -> JobRecord:
        """What its backend keeps of the job, with the newest event."""
        from lyftlearn.backend import JobRecord  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        return JobRecord(id=self.id, kind=self.kind, name=self.name, labels=self.labels, digest=self._digest,
            decision=self._decision, event=self._observed.event, outputs=self._settled_outputs(),
            nodes=self._nodes)  # fmt: skip

    def _settled_outputs(self) -> Mapping[str, str] | None:
        if self._settled is None:
            return None
        return {name: uri.replace(_ID, self.id) for name, uri in self._settled}

    def _timings(self) -> Timings:
        return self._shared_watch().backend.timings(self.id)

    def _final_timings(self) -> Timings | None:
        """Return where the time of a finished job went, None if it runs or if its backend cannot tell."""
        if not self.state.status.finished:
            return None
        try:
            return self._timings()
        except LyftLearnError:
            return None

    def _log_lines(self, query: LogQuery, say: Callable[[str], None] | None = None) -> Iterator[LogLine]:
        """Yield lines. say: is told where they come from, if the job is gone; by default that is a warning."""
        lines = self._lines(query, say or _warn_of_kept_log)
        return self._follow(lines) if query.follow else lines

    def _lines(self, query: LogQuery, say: Callable[[str], None]) -> Iterator[LogLine]:
        """Yield the lines that the backend gives, or what is kept of them where the job is gone."""
        backend, is_first = self._shared_watch().backend, True
        try:
            for line in backend.logs(self.id, query):
                is_first = False
                yield line
        except JobNotFound as absence:
            if not is_first or not self.state.status.finished:
                raise
            yield from self._kept_lines(query, absence, say)

    def _kept_lines(self, query: LogQuery, absence: JobNotFound, say: Callable[[str], None]) -> Iterator[LogLine]:
        from lyftlearn._jobs.kept_lines import find_kept_log  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        watch = self._shared_watch()
        kept = find_kept_log(watch, self.id, query)
        if kept is None:
            raise JobNotFound(f"{absence}; it was {self.state.status}, and nothing kept its log") from absence
        say(f"{watch.backend.name} keeps {self.id} no more: this is what {kept.place} has of its log")
        yield from kept.lines

    def _follow(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        from lyftlearn._jobs.interruption import advising  # noqa: PLC0415 - only for those who follow

        with advising([self.id], "logs --follow"):
            yield from lines

    def _shared_watch(self) -> SharedWatch:
        return self._connection(self.id)

    def _pause(self) -> float:
        return max(0.0, self._asked + self._shared_watch().pace - time.monotonic())

    def _observe(self, event: JobEvent) -> None:
        with _observing:
            before, self._observed = self._observed, _advance(self._observed, event)
        if not before.state.status.finished:
            self._note_end()

    def _note_end(self) -> None:
        """Tell the history how the job ended, if it did."""
        if self.state.status.finished:
            self._shared_watch().on_end(self._record, self.state)

    def _listen(self, told: Callable[[LyftLearnError | None], None]) -> Callable[[], None]:
        """Observe every event from now on, and call `told` after each; with an error that no patience mends."""
        return self._shared_watch().listen(self.id, lambda news: told(self._hear(news)))

    def _hear(self, news: JobEvent | LyftLearnError) -> LyftLearnError | None:
        """Observe an event; return what is an error instead."""
        if isinstance(news, LyftLearnError):
            return news
        self._observe(news)
        return None


class Notebook(Job):
    """A handle on a notebook. `stop()` keeps its files. `start()` opens a new run, because a final state ends a run."""

    __module__ = "lyftlearn"

    _reopen: Callable[[str, str], tuple[JobRecord, bool]]

    def url(self) -> str:
        """Wait until the notebook is ready, and return the URL at which a browser opens it.

        The URL has a token in it: whoever has it can run code as this notebook. If something must run on this machine
        for it to work, a warning says what. Raises JobFailed or JobStopped if the run ends first.
        """
        address = self._address()
        if address.forward:
            warnings.warn(f"this URL works while this runs: {address.forward}", stacklevel=2)
        return address.url

    def start(self) -> None:
        """Open a new run of the same notebook, with its files and the arguments of its last run.

        The handle is the new run's from then on. If a run is open, it becomes that one's. One that stops is waited
        for. The errors are those of `lyftlearn.notebook`.
        """
        record, kept = self._reopen(self.name, self.id)
        Job.__init__(self, self._connection, record, kept=kept)

    def __hash__(self) -> int:
        return hash(self.name)  # the id changes with each run

    def _address(self) -> NotebookAddress:
        from lyftlearn.backend import Backoff  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        backend = self._shared_watch().backend
        for pause in Backoff(0.1, 2.0):
            try:
                address = None if self.state.status.finished else backend.notebook_address(self.id)
                if address is not None:
                    return address
                if self.state.status.finished or self.refresh().status.finished:
                    break
            except BackendUnavailable as exc:  # who waits bears an outage, as `wait` does
                _log.warning("%s; it is asked again", exc)
            time.sleep(pause)
        raise (JobFailed if self.state.status is JobStatus.FAILED else JobStopped)(self, self.state)


def _warn_of_kept_log(text: str) -> None:
    warnings.warn(text, stacklevel=5)  # the line that asks for the first of them


def _no_outputs(state: JobState) -> str:
    """Say why a job that did not succeed has no outputs."""
    if state.status.finished:
        return "only a job that succeeds leaves outputs, so there are none"
    return "its outputs are there when it has succeeded (`job.wait()` tells)"


def _advance(progress: ObservedState | None, event: JobEvent) -> ObservedState:
    from lyftlearn.events import advance  # noqa: PLC0415 - as above

    return advance(progress, event)


def stamp_line(line: LogLine) -> str:
    """Return the text of a line after its time, by RFC 3339 in UTC."""
    return f"{line.at.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')} {line.text}"
