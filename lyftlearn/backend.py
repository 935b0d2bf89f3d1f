"""The contract that a backend fulfils. This page is all of it.

A backend is made by a callable `create(settings: BackendSettings) -> Backend`, registered under the entry-point group
`lyftlearn.backends`. It sees this module, `lyftlearn.events`, `lyftlearn.types` and `lyftlearn.errors`, and nothing
else. `lyftlearn.testing` holds the suite that says whether it is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from sys import intern
from typing import TYPE_CHECKING, Any

from lyftlearn._contract import options, recording, words
from lyftlearn._contract.bundle import bundle
from lyftlearn._contract.capabilities import Capabilities, Capability, Never, NotYet
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.ids import new_id
from lyftlearn._contract.mounts import (
    Mount,
    MountTable,
    is_below,
    mount_of,
    plain_path,
    read_mount_tables,
    relative_path,
    uri_in,
)
from lyftlearn._contract.options import Option, read_model_options, read_options
from lyftlearn._contract.plan import Plan, Request
from lyftlearn._contract.prices import NO_PRICES, PRICE_OPTIONS, Prices, take_prices
from lyftlearn._contract.runtime_archive import runtime_archive
from lyftlearn._contract.settings import BackendSettings, DriverSettings
from lyftlearn._contract.spec import JobSpec, ResourceRequest
from lyftlearn._contract.watch_set import WatchSet
from lyftlearn._storage import Storage, aws_session, kept_logs, open_storage
from lyftlearn._storage.kept_logs import LONGEST_LINE, StampedLine
from lyftlearn._telemetry import timed_request
from lyftlearn._text import redaction
from lyftlearn._text.small_file import read_small_file, read_small_text
from lyftlearn.errors import InvalidJob, JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._contract.backoff import Backoff
    from lyftlearn._contract.check import Check, Verdict
    from lyftlearn._contract.costs import Bill, Usage
    from lyftlearn._contract.logs import KeptLog, LogLine, LogQuery
    from lyftlearn._contract.notebooks import NotebookAddress, notebook_port
    from lyftlearn._contract.phases import Phase, PhaseName, Timings, consecutive_phases, timings_of
    from lyftlearn._contract.report import CommandTimes, Report, read_command_times, read_idle, read_report
    from lyftlearn._contract.spec_parts import NotebookSpec, ServingSpec, Source, SparkSpec, StoredJob

__all__ = [
    "LONGEST_LINE",
    "NO_PRICES",
    "PRICE_OPTIONS",
    "Backend",
    "BackendSettings",
    "Backoff",
    "Bill",
    "Capabilities",
    "Capability",
    "Check",
    "CommandTimes",
    "DriverSettings",
    "Fault",
    "Following",
    "JobQuery",
    "JobRecord",
    "JobSpec",
    "KeptLog",
    "Location",
    "LogLine",
    "LogQuery",
    "Mount",
    "MountTable",
    "Never",
    "NotYet",
    "NotebookAddress",
    "NotebookSpec",
    "Option",
    "Phase",
    "PhaseName",
    "Plan",
    "Prices",
    "Quantities",
    "Report",
    "Request",
    "ResourceRequest",
    "ServingSpec",
    "Source",
    "SparkSpec",
    "StampedLine",
    "Storage",
    "StoredJob",
    "Timings",
    "Usage",
    "Verdict",
    "WatchSet",
    "aws_session",
    "bundle",
    "consecutive_phases",
    "is_below",
    "kept_logs",
    "mount_of",
    "new_id",
    "notebook_port",
    "open_storage",
    "options",
    "plain_path",
    "read_command_times",
    "read_idle",
    "read_model_options",
    "read_mount_tables",
    "read_options",
    "read_report",
    "read_small_file",
    "read_small_text",
    "recording",
    "redaction",
    "relative_path",
    "runtime_archive",
    "take_prices",
    "timed_request",
    "timings_of",
    "uri_in",
    "words",
]

_POLL = 0.2  # seconds
_LATER = {
    "backoff": ("Backoff",),
    "check": ("Check", "Verdict"),
    "costs": ("Bill", "Usage"),
    "logs": ("KeptLog", "LogLine", "LogQuery"),
    "notebooks": ("NotebookAddress", "notebook_port"),
    "phases": ("Phase", "PhaseName", "Timings", "consecutive_phases", "timings_of"),
    "report": ("CommandTimes", "Report", "read_command_times", "read_idle", "read_report"),
    "spec_parts": ("NotebookSpec", "ServingSpec", "Source", "SparkSpec", "StoredJob"),
}
"""Modules of `_contract` that no plain submission needs. Each is loaded when one of its names is asked for."""


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _LATER.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=__name__)
    return globals().setdefault(name, getattr(import_module(f"lyftlearn._contract.{home}"), name))


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What the substrate keeps about a job, so that any process can find the job.

    event: the newest observation. outputs: output name to URI, settled at submission; None in records of 1.0.
    nodes: how many nodes the job has; None where that is not known.
    """

    id: str
    kind: JobKind
    name: str
    labels: Mapping[str, str]
    digest: str
    decision: str
    event: JobEvent
    outputs: Mapping[str, str] | None = None
    nodes: int | None = None

    @classmethod
    def of(cls, spec: JobSpec, at: datetime) -> JobRecord:
        """Return the record of a job that was accepted at `at` and waits."""
        job_id = intern(spec.id)  # whoever follows the job reads its id again and again
        event = JobEvent(job_id=job_id, status=JobStatus.PENDING, at=at, created_at=at)
        return cls(
            id=job_id,
            kind=spec.kind,
            name=spec.name,
            labels=dict(spec.labels),
            digest=spec.digest,
            decision=intern(spec.decision),  # one text for thousands of jobs
            event=event,
            outputs=dict(spec.output_uris),
            nodes=spec.nodes,
        )


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """Which jobs to list: those that fulfil every condition. None means any value. `since` is a time of creation."""

    name: str | None = None
    kind: JobKind | None = None
    status: JobStatus | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None

    def matches(self, record: JobRecord) -> bool:
        """Whether `record` fulfils every condition. Backends whose substrate cannot select jobs call this."""
        created = record.event.created_at or record.event.at
        return (
            self.name in (None, record.name)
            and self.kind in (None, record.kind)
            and self.status in (None, record.event.status)
            and self.labels.items() <= record.labels.items()
            and (self.since is None or created >= self.since)
        )


# The names that version 1.0 gave to these classes.
Following = WatchSet
Quantities = ResourceRequest


class Backend(ABC):
    """Where jobs run. Methods may be called from several threads at once.

    Every method may raise AccessDenied or BackendUnavailable. A vendor's error is translated, and remains the cause.
    """

    name: str

    def unmet(self, kind: JobKind, nodes: int = 1, retries: int = 0) -> list[tuple[str, str]]:
        """Return the arguments for which such a job needs what this backend lacks, each with the reason."""
        wanted: dict[str, Capability] = {"kind": Capability(kind)}
        if nodes > 1:
            wanted["nodes"] = Capability.SEVERAL_NODES
        if nodes > 1 and retries:
            wanted["retries"] = Capability.RETRIES_ON_SEVERAL_NODES
        reasons = {path: (wish, self.capabilities().why_not(wish)) for path, wish in wanted.items()}
        return [(path, self.cannot(wish, why)) for path, (wish, why) in reasons.items() if why]

    def cannot(self, capability: Capability, reason: str | None = None) -> str:
        """Say that this backend does not offer something, and why."""
        why = reason or self.capabilities().why_not(capability) or "it offers that without a method for it"
        return f"backend {self.name} cannot do this ({capability}), because {why}"

    def link(self, job_id: str) -> str | None:  # noqa: ARG002 - for backends that have a page to show
        """Return the address of the job's page in the substrate's own console, or None. Sends no request."""
        return None

    def driver_settings(self, model: str) -> DriverSettings:  # noqa: ARG002 - for backends where models differ
        """Return how the driver of a search for `model` submits its trials, where TUNE is offered. Asks nobody."""
        return DriverSettings()

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Return what this backend can do. Sends no request, and always returns the same."""

    @abstractmethod
    def plan(self, spec: JobSpec) -> Plan:
        """Return the exact requests for `spec`, and every fault at once. Uses no network and writes no file."""

    @abstractmethod
    def submit(self, plan: Plan) -> JobRecord:
        """Send a plan without faults. One request, the create, is the commit point.

        May be repeated, in any process. If the job exists with the plan's digest, returns its record. If it exists with
        another digest, raises Conflict. AccessDenied, InvalidJob and QuotaExceeded (`DEFINITE_REFUSALS`) mean that the
        job was certainly not accepted. Only the first answer to the create may raise them. If the create got no answer,
        or an error that is no known refusal, the job may have been accepted. Then submit raises BackendUnavailable with
        `job_id` set, whatever later requests are answered. Without `job_id`, the create was never sent.
        """

    @abstractmethod
    def describe(self, job_id: str) -> JobRecord:
        """Return what is known about the job now. Raises JobNotFound. May be repeated."""

    @abstractmethod
    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first. Fetches each page only when it is needed. May be repeated."""

    @abstractmethod
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines of each node in their order, each exactly once.

        Connections that drop are opened again: the end of a stream is not the end of the job. Raises JobNotFound. May
        be repeated.
        """

    def kept_log(self, job_id: str, query: LogQuery) -> KeptLog | None:  # noqa: ARG002 - where logs outlive jobs
        """Return what the platform itself still has of the log of a job that is gone, None if that is nothing.

        What the runtime or the backend put into the storage (`kept_logs`) is found without it. May be repeated.
        """
        return None

    @abstractmethod
    def stop(self, job_id: str) -> None:
        """Ask the job to stop: SIGTERM, then SIGKILL after its grace. Returns once the request is stored.

        Does nothing to a finished job. Raises JobNotFound. May be repeated.
        """

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        """Yield an event for every followed job soon, and another one for each change, until `following` is closed.

        Events may come late, twice and out of order. One call serves a whole process. If a job does not exist, or was
        removed meanwhile, call `following.report_absence` within minutes: the job has not ended, and whoever waits for
        it must be told. An absence may be reported more than once.

        This default describes each job a few times a second, which is enough where a request is cheap.
        """
        said: dict[str, JobEvent] = {}
        while not following.closed:
            ids = following.ids
            for job_id in ids:
                try:
                    event = self.describe(job_id).event
                except JobNotFound as error:
                    following.report_absence(job_id, error)
                    continue
                if said.get(job_id) != event:
                    said[job_id] = event
                    yield event
            following.wait_for_change(_POLL, ids)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        """Return the URI of each output by name. It has content once the job has succeeded. Raises JobNotFound."""
        return self.describe(job_id).outputs or {}

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        """Return where a notebook that runs can be opened; None until it answers. May be repeated.

        The token that opens it is random for each run, and kept where only its owner can read it: in no record, log or
        event. Raises JobNotFound. Only for backends that offer notebooks.
        """
        raise InvalidJob([("kind", f"{job_id}: {self.cannot(Capability.NOTEBOOK)}")])

    def stored_job(self, job_id: str) -> StoredJob:
        """Return what the job was, for whoever makes another like it. Raises JobNotFound. May be repeated."""
        raise InvalidJob([("job", f"backend {self.name} does not tell what {job_id} was made from")])

    def plan_server(self, spec: JobSpec, layout: str | None = None) -> Plan:  # noqa: ARG002 - as above
        """Plan a server of a model, `spec.serving`. layout: which serving system's; None means the backend's own."""
        problem = f"backend {self.name} has no servers of models: name one with --backend"
        raise InvalidJob([("backend" if layout is None else "layout", problem)])

    def registry_logins(self, spec: JobSpec) -> Sequence[Mapping[str, Any]] | None:  # noqa: ARG002 - as above
        """Return what the substrate opens the registry of the job's image with; None if the job runs in no image.

        Each is a document as `docker login` writes it, `{"auths": {"registry.example": {"auth": "..."}}}`. What this
        machine has is not among them. Whoever asks looks at the image for a plan, and does without what is refused.
        """
        return ()

    def timings(self, job_id: str) -> Timings:
        """Return where the job's time went, its newest run if it was started anew. Raises JobNotFound.

        By default: how long it waited and how long it ran, from `describe`.
        """
        from lyftlearn._contract.phases import timings_of  # noqa: PLC0415 - as `_LATER`

        return timings_of(self.describe(job_id).event)

    def prices(self, machines: Collection[str]) -> Prices:  # noqa: ARG002 - where machines have prices
        """Return what an hour costs, of these machines at least where that is known. By default nothing is."""
        return NO_PRICES

    def instance_type(self, plan: Plan) -> str | None:  # noqa: ARG002 - where machines have prices
        """Return the type of instance that a plan asks for; None where what a job requests is paid."""
        return None

    def usage(self, job_id: str) -> Usage | None:  # noqa: ARG002 - where the platform counts
        """Return what is paid for a job that has ended. None means its requests, from its start to its end."""
        return None

    def bill(self, job_id: str, start: datetime, end: datetime) -> Bill | None:  # noqa: ARG002 - as above
        """Return what the platform says that a job has cost which ran in this time; None where it has no such word.

        Raises LyftLearnError where it should have one: the cost then follows from prices.
        """
        return None

    def remove_finished(self, before: datetime, *, dry_run: bool = False) -> Iterator[tuple[str, int]]:
        """Remove what this backend keeps about jobs that ended before that time. Yield each job's id and its bytes.

        dry_run: whether to remove nothing. May be repeated. The default does nothing, because a platform removes jobs
        by its own rules.
        """
        del before, dry_run
        return iter(())

    def diagnose(self) -> Iterator[Check]:
        """Yield checks for an operator: what can be reached, what is missing, and what to do.

        Changes nothing that lasts, and raises no error that a check can report. May be repeated. The default has no
        checks.
        """
        yield from ()
