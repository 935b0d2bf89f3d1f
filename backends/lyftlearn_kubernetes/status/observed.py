"""What is remembered of a Job and of a pod: the few fields that tell a state, without the bundle they carry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import read_report
from lyftlearn_kubernetes import labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn.backend import Report

NOT_YET = "PodInitializing"
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An entry of `status.conditions` that is true."""

    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended. report: None if the runtime left none; text: what stands in its place."""

    exit_code: int
    reason: str
    text: str
    at: datetime
    report: Report | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPod:
    """A pod of a job. waiting: reason and message of the main container, before it runs."""

    name: str
    uid: str
    job_id: str
    version: int
    node: int
    created_at: datetime
    phase: str
    deleted: bool
    scheduled_at: datetime | None
    unscheduled: str
    waiting: tuple[str, str] | None
    started_at: datetime | None
    ending: Ending | None
    disruption: Condition | None
    reason: str
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.ending is not None or self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedJob:
    """A Job. stop: when somebody asked for its end; verdict: why lyftlearn ended it, as reason and message."""

    id: str
    uid: str
    version: int
    nodes: int
    created_at: datetime
    suspended: bool
    failed: int
    stop: datetime | None
    verdict: tuple[str, str] | None
    complete: Condition | None
    failure: Condition | None
    completed_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether its controller has said the last word."""
        return self.complete is not None or self.failure is not None


def job(document: Mapping[str, Any]) -> ObservedJob:
    """Return what matters of a batch/v1 Job."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = _conditions(status)
    verdict = json.loads(annotations[labels.VERDICT]) if labels.VERDICT in annotations else None
    return ObservedJob(
        id=metadata["name"],
        uid=metadata["uid"],
        version=version(metadata),
        nodes=spec.get("completions") or 1,
        created_at=moment(metadata["creationTimestamp"]),
        suspended=bool(spec.get("suspend")),
        failed=status.get("failed") or 0,
        stop=moment(annotations[labels.STOP]) if labels.STOP in annotations else None,
        verdict=(verdict["reason"], verdict["message"]) if verdict else None,
        complete=conditions.get("Complete"),
        failure=conditions.get("Failed"),
        completed_at=moment(status["completionTime"]) if status.get("completionTime") else None,
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
        job_id=metadata["labels"][labels.JOB],
        version=version(metadata),
        node=_node(metadata),
        created_at=moment(metadata["creationTimestamp"]),
        phase=status.get("phase") or "Pending",
        deleted="deletionTimestamp" in metadata,
        scheduled_at=scheduled.at if scheduled else None,
        unscheduled=_false_message(status, "PodScheduled"),
        waiting=_sidecar_wait(status) or _reason_and_message(waiting) if waiting else None,
        started_at=moment(started) if started else None,
        ending=ending,
        disruption=conditions.get("DisruptionTarget"),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
    )


def version(metadata: Mapping[str, Any]) -> int:
    """Return a resourceVersion as a number: they grow with every change of a kind of object."""
    text = str(metadata.get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def moment(text: str) -> datetime:
    """Return a time of the API."""
    return datetime.fromisoformat(text).astimezone(UTC)


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
    found = (entry for entry in status.get("conditions") or () if entry["type"] == kind and entry["status"] == "False")
    return next((str(entry.get("message") or entry.get("reason") or "") for entry in found), "")


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


def _ending(terminated: Mapping[str, Any]) -> Ending:
    text = terminated.get("message") or ""
    return Ending(
        exit_code=terminated["exitCode"],
        reason=terminated.get("reason") or "",
        text=text.strip(),
        at=moment(terminated.get("finishedAt") or "1970-01-01T00:00:00Z"),
        report=read_report(text, within=False),
    )
