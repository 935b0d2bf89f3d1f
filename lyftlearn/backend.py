"""The contract that a backend fulfils. This page is all of it.

A backend is made by a callable `create(settings: BackendSettings) -> Backend`, registered under the entry-point group
`lyftlearn.backends`. It sees this module, `lyftlearn.events`, `lyftlearn.types` and `lyftlearn.errors`, and nothing
else. `lyftlearn.testing` holds the suite that says whether it is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from lyftlearn._contract import options, words
from lyftlearn._contract.backoff import Backoff
from lyftlearn._contract.bundle import bundle
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.ids import new_id
from lyftlearn._contract.options import Option, read_options
from lyftlearn._contract.report import Report, read_report
from lyftlearn._contract.runtime_archive import runtime_archive
from lyftlearn._contract.spec import JobSpec, NotebookSpec, ResourceRequest, Source
from lyftlearn._contract.watch_set import WatchSet
from lyftlearn._storage import Storage, open_storage
from lyftlearn._text import redaction
from lyftlearn.errors import InvalidJob, JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind, JobStatus

__all__ = [
    "Backend",
    "BackendSettings",
    "Backoff",
    "Capabilities",
    "Capability",
    "Check",
    "DriverSettings",
    "Fault",
    "Following",
    "JobQuery",
    "JobRecord",
    "JobSpec",
    "Location",
    "LogLine",
    "LogQuery",
    "Never",
    "NotYet",
    "NotebookAddress",
    "NotebookSpec",
    "Option",
    "Plan",
    "Quantities",
    "Report",
    "Request",
    "ResourceRequest",
    "Source",
    "Storage",
    "Verdict",
    "WatchSet",
    "bundle",
    "new_id",
    "open_storage",
    "options",
    "read_options",
    "read_report",
    "redaction",
    "runtime_archive",
    "words",
]

_POLL = 0.2  # seconds


class Capability(StrEnum):
    """What a backend may or may not be able to do. A job that needs what is missing is refused in its plan."""

    TRAIN = "train"
    PROCESS = "process"
    PREDICT = "predict"
    TUNE = "tune"
    NOTEBOOK = "notebook"
    SEVERAL_NODES = "several nodes"
    RETRIES_ON_SEVERAL_NODES = "retries on several nodes"
    LOCAL_PATHS = "local paths"  # reads `file://` inputs itself; else the client uploads them
    MEMORY_LIMIT = "memory limit"  # kills what exceeds its memory, and says OUT_OF_MEMORY
    REPLACEMENT = "replaced containers"  # starts a container again that its platform lost, with its checkpoints
    CONTRACT_PATHS = "contract paths"  # `/lyftlearn/...` is real; else only the variables lead there


class NotYet(str):
    """The reason of a lack that may be mended, and is no promise."""

    __slots__ = ()


class Never(str):
    """The reason of a lack that lies in the substrate, or in what the backend is for."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend offers, and why it lacks the rest. The reason of a lack is a `NotYet` or a `Never`.

    retention: how long a finished job is kept and its id cannot be used again; None means for ever.
    """

    offers: frozenset[Capability]
    lacks: Mapping[Capability, str] = field(default_factory=dict)
    retention: timedelta | None = None

    def why_not(self, capability: Capability) -> str | None:
        """Return None if `capability` is offered, else the reason."""
        if capability in self.offers:
            return None
        return self.lacks.get(capability, "it does not offer that")


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """What a backend is made from.

    table: the configuration table named after the backend. home: a directory of this user for state and caches.
    storage_url: where sources, bundles and outputs live, `file://` or `s3://`. folders: for each key of the table the
    directory of the file that set it, where relative paths start; what is not there starts at the working directory.
    """

    name: str
    table: Mapping[str, Any]
    home: Path
    storage_url: str
    folders: Mapping[str, Path] = field(default_factory=dict)

    def path(self, key: str, written: str) -> Path:
        """Return the absolute path that `written`, the value of a key of the table, stands for."""
        folder = self.folders.get(key.partition(".")[0], Path())
        return (folder / Path(written).expanduser()).absolute()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request that a plan would send: the operation, in the substrate's words, and its body as plain data.

    upload: whether it puts something into the storage beforehand. The body of any other request is a document as the
    substrate's own command-line tool takes it.
    """

    operation: str
    body: Mapping[str, Any]
    upload: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The exact requests that would be sent, in order, and what stands against them.

    faults: each a `Fault`, or a plain pair like one. A plan with faults is never submitted.
    notes: what a person should know, such as an argument that this backend has no use for.
    """

    spec: JobSpec
    backend: str
    requests: tuple[Request, ...]
    faults: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DriverSettings:
    """How a tuning job's driver, which is a job of this backend, submits trials to the same backend.

    python: the command that starts Python where the driver runs. env: variables that it needs there. table: this
    backend's configuration table as it holds there; None means as it is. home: where it keeps its state, if that is to
    be this machine's.
    """

    python: str = "python3"
    env: Mapping[str, str] = field(default_factory=dict)
    table: Mapping[str, Any] | None = None
    home: Path | None = None


class Verdict(StrEnum):
    """How a check went. A warning costs something, which its detail names; a failure means that jobs cannot run."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that `lyftlearn doctor` looked at: its name, how it went, and what was seen or what to do."""

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What the substrate itself keeps of a job, so that any process can find it.

    event: its newest observation. outputs: output name to URI, settled at submission; None in records of 1.0.
    """

    id: str
    kind: JobKind
    name: str
    labels: Mapping[str, str]
    digest: str
    decision: str
    event: JobEvent
    outputs: Mapping[str, str] | None = None

    @classmethod
    def of(cls, spec: JobSpec, at: datetime) -> JobRecord:
        """Return the record of a job that was accepted at `at` and waits."""
        event = JobEvent(job_id=spec.id, status=JobStatus.PENDING, at=at, created_at=at)
        return cls(
            id=spec.id,
            kind=spec.kind,
            name=spec.name,
            labels=dict(spec.labels),
            digest=spec.digest,
            decision=spec.decision,
            event=event,
            outputs=dict(spec.output_uris),
        )


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """Which jobs to list: all conditions hold. None means any. `since` is about the time of creation."""

    name: str | None = None
    kind: JobKind | None = None
    status: JobStatus | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None

    def matches(self, record: JobRecord) -> bool:
        """Whether `record` fulfils every condition, for backends whose substrate cannot tell."""
        created = record.event.created_at or record.event.at
        return (
            self.name in (None, record.name)
            and self.kind in (None, record.kind)
            and self.status in (None, record.event.status)
            and self.labels.items() <= record.labels.items()
            and (self.since is None or created >= self.since)
        )


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """Which lines to give.

    `tail` counts per node. `follow` ends when the job has finished and its last line was given.
    """

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    node: int | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of output without its newline; bytes that are not UTF-8 have become U+FFFD."""

    node: int
    at: datetime
    text: str


@dataclass(frozen=True)
class NotebookAddress:
    """Where a browser opens a notebook, its token included. forward: what must run on the reader's machine for that.

    `forward` is a command that a person can type; None where the URL leads there by itself.
    """

    url: str = field(repr=False)
    forward: str | None = None


# Their names in 1.0.
Following = WatchSet
Quantities = ResourceRequest


class Backend(ABC):
    """Where jobs run. Methods may be called from several threads at once.

    Every method may raise AccessDenied or BackendUnavailable; vendor errors are translated and stay the cause.
    """

    name: str

    def unmet(self, kind: JobKind, nodes: int = 1, retries: int = 0) -> list[tuple[str, str]]:
        """Return what such a job needs and this backend lacks: path of the argument, and the reason."""
        wanted: dict[str, Capability] = {"kind": Capability(kind)}
        if nodes > 1:
            wanted["nodes"] = Capability.SEVERAL_NODES
        if nodes > 1 and retries:
            wanted["retries"] = Capability.RETRIES_ON_SEVERAL_NODES
        reasons = {path: (wish, self.capabilities().why_not(wish)) for path, wish in wanted.items()}
        return [(path, self.cannot(wish, why)) for path, (wish, why) in reasons.items() if why]

    def cannot(self, capability: Capability, reason: str | None = None) -> str:
        """Say that this backend does not offer something, and why."""
        why = reason or self.capabilities().why_not(capability)
        return f"backend {self.name} cannot do this ({capability}), because {why}"

    def link(self, job_id: str) -> str | None:  # noqa: ARG002 - for backends that have a page to show
        """Return the address of a page about the job in the substrate's own console, or None. Asks nobody."""
        return None

    def driver_settings(self, model: str) -> DriverSettings:  # noqa: ARG002 - for backends where models differ
        """Return how the driver of a search for `model` submits its trials, where TUNE is offered. Asks nobody."""
        return DriverSettings()

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Say what this backend can do. Asks nobody; always the same answer."""

    @abstractmethod
    def plan(self, spec: JobSpec) -> Plan:
        """Say exactly what would be sent for `spec`, and every fault at once. Pure: no network, no file is written."""

    @abstractmethod
    def submit(self, plan: Plan) -> JobRecord:
        """Send a plan without faults; one request is the commit point.

        May be repeated, in any process: if the job exists with the plan's digest, its record is returned. Raises
        Conflict if it exists with another digest. AccessDenied, InvalidJob and QuotaExceeded (`DEFINITE_REFUSALS`) say
        that it was certainly not accepted: only the first answer to the create can say so. After a request without an
        answer, whatever the next one is told, and for every error that is no known refusal, raises BackendUnavailable
        with `job_id` set: nobody can know. Without `job_id` the create was certainly never sent.
        """

    @abstractmethod
    def describe(self, job_id: str) -> JobRecord:
        """Return what is known of the job now. Raises JobNotFound. May be repeated."""

    @abstractmethod
    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first, fetching pages as they are asked for. May be repeated."""

    @abstractmethod
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield lines in order per node, each exactly once.

        Survives dropped connections; a stream's end is not the job's. Raises JobNotFound. May be repeated.
        """

    @abstractmethod
    def stop(self, job_id: str) -> None:
        """Ask the job to stop: SIGTERM, then SIGKILL after its grace. Returns when the wish is on record.

        On a finished job nothing happens. Raises JobNotFound. May be repeated.
        """

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        """Yield an event soon for every followed job, and then for each change, until `following` is closed.

        Events may come late, doubled and out of order. One call serves a whole process. A job that does not exist, or
        was removed meanwhile, is given to `following.report_absence` within minutes: absence is no end, and whoever
        waits for the job must hear of it. To report it again does no harm.

        As it stands here it describes each job a few times a second: enough where asking is cheap.
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
        """Return output name to URI, known from the start and filled when the job succeeds. Raises JobNotFound."""
        return self.describe(job_id).outputs or {}

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        """Return where a notebook that runs can be opened; None until it answers. May be repeated.

        The token that opens it is random for each run, and kept where only its owner can read it: in no record, log or
        event. Raises JobNotFound. Only for backends that offer notebooks.
        """
        raise InvalidJob([("kind", f"{job_id}: {self.cannot(Capability.NOTEBOOK)}")])

    def remove_finished(self, before: datetime, *, dry_run: bool = False) -> Iterator[tuple[str, int]]:
        """Remove what this backend itself keeps of jobs that ended before then; yield the id and the bytes of each.

        dry_run: remove nothing. May be repeated. By default: nothing, for a platform removes by its own rules.
        """
        del before, dry_run
        return iter(())

    def diagnose(self) -> Iterator[Check]:
        """Yield what an operator should know of this place: what is reachable, what is missing, what to do.

        Changes nothing that lasts; raises nothing that a check can say. May be repeated. By default: no checks.
        """
        yield from ()
