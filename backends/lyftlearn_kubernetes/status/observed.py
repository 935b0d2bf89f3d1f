"""What is remembered of a Job and of a pod: the few fields that tell a state, without the bundle they carry."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from sys import intern  # what is said of thousands of objects is kept once
from typing import TYPE_CHECKING, Any, TypeVar

from lyftlearn.backend import read_command_times, read_idle, read_report
from lyftlearn.errors import LyftLearnError
from lyftlearn.types import FailureReason
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lyftlearn.backend import CommandTimes, Report

NOT_YET = "PodInitializing"
_Item = TypeVar("_Item")
_log = logging.getLogger("lyftlearn")
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, LyftLearnError, RecursionError, TypeError, ValueError)
INDEX = "batch.kubernetes.io/job-completion-index"
FINALIZER = "batch.kubernetes.io/job-tracking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An entry of `status.conditions` that is true."""

    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a job may wait: for a place or a container, and for what should be there at once."""

    pending: timedelta
    starting: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended. report, times: None if the runtime left none; text: what stands in its place.

    idle: whether the runtime stopped it because nobody used the notebook.
    """

    exit_code: int
    reason: str
    text: str
    at: datetime
    report: Report | None
    times: CommandTimes | None
    idle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPod:
    """A pod of a job. waiting: reason and message of the main container, before it runs.

    host: the cluster's node that it is on. gone_by: when it should have ended, if it was deleted. released: whether its
    Job counts it no more, because it was suspended, or because the pod was counted when it ended.
    """

    name: str
    uid: str
    job_id: str
    version: int
    node: int
    created_at: datetime
    phase: str
    deleted: bool
    released: bool
    scheduled_at: datetime | None
    unscheduled: str
    waiting: tuple[str, str] | None
    started_at: datetime | None
    ending: Ending | None
    disruption: Condition | None
    host: str
    gone_by: datetime | None
    reason: str
    message: str

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.ending is not None or self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedJob:
    """A Job. stop: when somebody asked for its end; verdict: why lyftlearn ended it, as reason and message.

    active_since: when it was created, or resumed last. first_start: what it keeps of a start whose pod may be gone.
    limits: None where it does not carry them. incarnation: grows each time it is started anew, because a pod was lost
    or its queue held it back meanwhile. was_suspended: whether its controller has ever suspended it. queue: Kueue's, or
    nothing. elsewhere: whether MultiKueue runs it on another cluster. active and ready: how many pods it has, and how
    many of them run.
    """

    id: str
    uid: str
    version: int
    nodes: int
    created_at: datetime
    active_since: datetime
    first_start: datetime | None
    limits: Limits | None
    suspended: bool
    was_suspended: bool
    incarnation: int
    stop: datetime | None
    verdict: tuple[str, str] | None
    complete: Condition | None
    failure: Condition | None
    completed_at: datetime | None
    queue: str
    elsewhere: bool
    active: int
    ready: int

    @property
    def has_finished(self) -> bool:
        """Whether its controller has said the last word."""
        return self.complete is not None or self.failure is not None


def each(observe: Callable[[Mapping[str, Any]], _Item], documents: Iterable[Mapping[str, Any]]) -> Iterator[_Item]:
    """Yield what is observed of each; one that cannot be read is named in the log, and hides no other."""
    for document in documents:
        try:
            item = observe(document)
        except _UNREADABLE as exc:
            name = (document.get("metadata") or {}).get("name") if isinstance(document, dict) else None
            _log.warning("an object %s of the cluster cannot be read, and is left out: %r", name, exc)
        else:
            yield item


def readable_job(document: Mapping[str, Any]) -> ObservedJob:
    """Return what matters of a Job. Raises LyftLearnError for one in which somebody has written what cannot be read."""
    try:
        return job(document)
    except _UNREADABLE as exc:
        raise LyftLearnError(f"the Job {document['metadata'].get('name')} cannot be read: {exc!r}") from exc


def job(document: Mapping[str, Any]) -> ObservedJob:
    """Return what matters of a batch/v1 Job."""
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = _conditions(status)
    created_at = moment(metadata["creationTimestamp"])
    return ObservedJob(
        id=intern(metadata["name"]),
        uid=metadata["uid"],
        version=version(metadata),
        nodes=spec.get("completions") or 1,
        created_at=created_at,
        active_since=moment(status["startTime"]) if status.get("startTime") else created_at,
        first_start=_first_start(annotations.get(labels.STARTED), created_at),
        limits=_limits(annotations.get(labels.LIMITS)),
        suspended=bool(spec.get("suspend")),
        was_suspended=any(entry["type"] == "Suspended" for entry in status.get("conditions") or ()),
        incarnation=(status.get("failed") or 0) + _changes(metadata) + _seconds_to_suspension(status, created_at),
        stop=_stop(annotations[labels.STOP], created_at) if labels.STOP in annotations else None,
        verdict=_verdict(annotations.get(labels.VERDICT)),
        complete=conditions.get("Complete"),
        failure=conditions.get("Failed"),
        completed_at=moment(status["completionTime"]) if status.get("completionTime") else None,
        queue=(metadata.get("labels") or {}).get(labels.QUEUE) or "",
        elsewhere=spec.get("managedBy") == labels.MULTIKUEUE,
        active=status.get("active") or 0,
        ready=status.get("ready") or 0,
    )


def pod(document: Mapping[str, Any]) -> ObservedPod:
    """Return what matters of a pod that a Job made."""
    metadata, status = document["metadata"], document.get("status") or {}
    conditions = _conditions(status)
    scheduled = conditions.get("PodScheduled")
    state = _main_state(status)
    running, waiting = state.get("running"), state.get("waiting")
    ending = _ending(state["terminated"]) if state.get("terminated") else None
    started = (running or state.get("terminated") or {}).get("startedAt")
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        job_id=intern(metadata["labels"][labels.JOB]),
        version=version(metadata),
        node=_node(metadata),
        created_at=moment(metadata["creationTimestamp"]),
        phase=intern(status.get("phase") or "Pending"),
        deleted="deletionTimestamp" in metadata,
        released=FINALIZER not in (metadata.get("finalizers") or ()),
        scheduled_at=scheduled.at if scheduled else None,
        unscheduled=_false_message(status, "PodScheduled"),
        waiting=_sidecar_wait(status) or _reason_and_message(waiting) if waiting else None,
        started_at=moment(started) if started else None,
        ending=ending,
        disruption=conditions.get("DisruptionTarget"),
        host=intern((document.get("spec") or {}).get("nodeName") or ""),
        gone_by=moment(metadata["deletionTimestamp"]) if metadata.get("deletionTimestamp") else None,
        reason=status.get("reason") or "",
        message=status.get("message") or ("" if ending else _init_failure(status)),
    )


def version(metadata: Mapping[str, Any]) -> int:
    """Return a resourceVersion as a number: they grow with every change of a kind of object."""
    text = str(metadata.get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def _changes(metadata: Mapping[str, Any]) -> int:
    """Return how often a Job's spec was changed: by each suspension and each resumption, at once."""
    return max(0, int(metadata.get("generation") or 1) - 1)


def _seconds_to_suspension(status: Mapping[str, Any], created_at: datetime) -> int:
    """Return the seconds from a Job's creation to the last suspension or resumption that its controller carried out."""
    at = [
        moment(entry["lastTransitionTime"])
        for entry in status.get("conditions") or ()
        if entry["type"] == "Suspended" and entry.get("lastTransitionTime")
    ]
    return max(0, int((at[0] - created_at).total_seconds())) + 1 if at else 0


def texts(text: str | None) -> dict[str, str]:
    """Return the texts of the table that an annotation holds. Values that are no text are left out."""
    table = _table(text)
    return {key: value for key, value in table.items() if isinstance(value, str)}


def _table(text: str | None) -> dict[str, Any]:
    """Return the table that an annotation holds. Anybody may write there, so malformed text is an empty table."""
    try:
        value = json.loads(text or "{}")
    except (RecursionError, TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _stop(text: str, created_at: datetime) -> datetime:
    """Return when the stop was requested. A time that cannot be read is still a stop: then it is the job's creation."""
    try:
        return moment(text)
    except (OverflowError, TypeError, ValueError):
        return created_at


def _first_start(text: str | None, created_at: datetime) -> datetime | None:
    """Return when the job began first, as an observer noted it; None if nobody did, or if that cannot be read."""
    try:
        return max(created_at, moment(text)) if text else None
    except (OverflowError, TypeError, ValueError):
        return None


def _verdict(text: str | None) -> tuple[str, str] | None:
    verdict = texts(text)
    known = verdict.get("reason") in list(FailureReason)
    return (verdict["reason"], verdict.get("message", "")) if known else None


@lru_cache  # they are the same for thousands of jobs
def _limits(text: str | None) -> Limits | None:
    table = _table(text)
    try:
        return Limits(pending=timedelta(seconds=table["pending"]), starting=timedelta(seconds=table["starting"]))
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _node(metadata: Mapping[str, Any]) -> int:
    index = (metadata.get("annotations") or {}).get(INDEX) or (metadata.get("labels") or {}).get(INDEX) or "0"
    return int(index)


def _conditions(status: Mapping[str, Any]) -> dict[str, Condition]:
    return {
        entry["type"]: Condition(
            reason=entry.get("reason") or "",
            message=entry.get("message") or "",
            at=moment(entry.get("lastTransitionTime") or "1970-01-01T00:00:00Z"),
        )
        for entry in status.get("conditions") or ()
        if entry["status"] == "True"
    }


def _false_message(status: Mapping[str, Any], kind: str) -> str:
    entries = (
        entry for entry in status.get("conditions") or () if entry["type"] == kind and entry["status"] == "False"
    )
    return next((str(entry.get("message") or entry.get("reason") or "") for entry in entries), "")


def _main_state(status: Mapping[str, Any]) -> dict[str, Any]:
    for entry in status.get("containerStatuses") or ():
        if entry["name"] == labels.MAIN:
            return dict(entry.get("state") or {})
    return {}


def _reason_and_message(waiting: Mapping[str, Any]) -> tuple[str, str]:
    return waiting.get("reason") or "", waiting.get("message") or ""


def _sidecar_wait(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what a sidecar waits for that has to start before the main container."""
    for entry in status.get("initContainerStatuses") or ():
        reason, message = _reason_and_message((entry.get("state") or {}).get("waiting") or {})
        if reason and not entry.get("started") and reason != NOT_YET:
            return reason, f"sidecar {entry['name']}: {message}"
    return None


def _init_failure(status: Mapping[str, Any]) -> str:
    """Return how a container ended that others put before the main one, such as a vault's, if it failed."""
    for entry in status.get("initContainerStatuses") or ():
        terminated = (entry.get("state") or {}).get("terminated") or {}
        if terminated.get("exitCode"):
            words = ": ".join(filter(None, (terminated.get("reason"), terminated.get("message"))))
            return f"init container {entry['name']} ended with {terminated['exitCode']} ({words.strip()[-700:]})"
    return ""


def _ending(terminated: Mapping[str, Any]) -> Ending:
    text = terminated.get("message") or ""
    return Ending(
        exit_code=terminated["exitCode"],
        reason=terminated.get("reason") or "",
        text=text.strip(),
        at=moment(terminated.get("finishedAt") or "1970-01-01T00:00:00Z"),
        report=read_report(text, within=False),
        times=read_command_times(text),
        idle=read_idle(text),
    )
