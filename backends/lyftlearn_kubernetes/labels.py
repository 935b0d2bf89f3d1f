"""What a Job is called and marked with, so that people, selectors and other processes find it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn.backend import JobQuery, JobSpec

MANAGED_BY, OURS = "app.kubernetes.io/managed-by", "lyftlearn"
JOB, KIND, NAME, MODEL, NODES = (f"lyftlearn/{word}" for word in ("job", "kind", "name", "model", "nodes"))
DIGEST, DECISION, LABELS, OUTPUTS, BUNDLE = (
    f"lyftlearn/{word}" for word in ("digest", "decision", "labels", "outputs", "bundle")
)
NOTEBOOK = "lyftlearn/notebook"  # what names its files
STOP = "lyftlearn/stop"  # when somebody asked for the end
STARTED = "lyftlearn/started"  # when the first container of a job started anew began: its pod may be gone
LIMITS = "lyftlearn/limits"  # how long the job may wait, in seconds: `pending` and `starting`
VERDICT = "lyftlearn/verdict"  # why lyftlearn itself ended the job: reason and message
QUEUE, PRIORITY = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
MULTIKUEUE = "kueue.x-k8s.io/multikueue"
SELECTOR = f"{MANAGED_BY}={OURS},{JOB}"
SERVICE = "lyftlearn"
MAIN = "main"
KILLED, TERMINATED = 137, 143
REPLACED = (KILLED, TERMINATED)
"""Exit codes that leave open who ended a container: the platform, which then replaces the pod. A command's own end
never has them, for the runtime exits with another code then."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_RESERVED = ("kubernetes.io", "k8s.io", "x-k8s.io", "lyftlearn")
_CONTROLLERS_OWN = ("job-name", "controller-uid")


def job_labels(spec: JobSpec) -> dict[str, str]:
    """Return the labels of the Job and its pods: the caller's that are free to take, and ours."""
    model = {} if spec.kind in (JobKind.PROCESS, JobKind.NOTEBOOK) else {MODEL: spec.name}
    model |= {NOTEBOOK: spec.notebook.files} if spec.notebook else {}
    own = {MANAGED_BY: OURS, JOB: spec.id, KIND: str(spec.kind), NAME: spec.name}
    return {**selectable_labels(spec.labels), **own, **model}


def selectable_labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that Kubernetes and lyftlearn do not use themselves; others are kept in an annotation."""
    return {key: value for key, value in given.items() if not _is_reserved(key)}


def _is_reserved(key: str) -> bool:
    prefix, slash, _ = key.partition("/")
    if not slash:
        return key in _CONTROLLERS_OWN
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in _RESERVED)


def job_annotations(spec: JobSpec, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return what describes the job beyond its labels."""
    return {
        DIGEST: spec.digest,
        DECISION: spec.decision,
        LABELS: compact_json(dict(spec.labels)),
        OUTPUTS: compact_json(dict(outputs)),
    }


def selector(query: JobQuery) -> str:
    """Return the label selector that finds every job of `query`, and maybe more."""
    wanted = {**selectable_labels(query.labels), MANAGED_BY: OURS}
    if query.kind is not None:
        wanted[KIND] = str(query.kind)
    if query.name is not None:
        wanted[NAME] = query.name
    return ",".join([JOB, *(f"{key}={value}" for key, value in sorted(wanted.items()))])


def of_job(job_id: str) -> str:
    """Return the label selector of a job's pods."""
    return f"{JOB}={job_id}"


def hosts(job_id: str, nodes: int) -> list[str]:
    """Return the names under which a job's nodes find each other: an Indexed Job's host names, in the one Service."""
    return [f"{job_id}-{index}.{SERVICE}" for index in range(nodes)]


def compact_json(value: object) -> str:
    """Return `value` as one line of JSON."""
    return _encode(value)
