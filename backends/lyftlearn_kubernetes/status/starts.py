"""When a job began first: its Job keeps that, because the pods that tell it go when they are replaced or stopped."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.status import events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.status.observed import ObservedJob, ObservedPod

RETRY_SECONDS = 60.0
_log = logging.getLogger("lyftlearn")


class StartKeeper:
    """Notes the first start of a job when whoever looks later could not learn it: a patch for each such loss."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._heard: dict[str, datetime] = {}
        self._left_alone: dict[str, float] = {}

    def keep(self, job: ObservedJob, pods: Sequence[ObservedPod]) -> ObservedJob:
        """Return the job with its first start, noted if it could be lost."""
        told = (self._heard.get(job.id), events.first_start(job, pods))
        first = min((at for at in told if at and at >= job.created_at), default=None)
        if first is None:
            return job
        self._heard[job.id] = first
        if first == job.first_start or _is_safe(first, pods):
            return job
        if self._left_alone.get(job.id, 0.0) < time.monotonic():
            self._left_alone[job.id] = time.monotonic() + RETRY_SECONDS
            self._note(job.id, first)
        return replace(job, first_start=first)

    def forget(self, job_id: str) -> None:
        """Drop what was heard of a job that has ended."""
        self._heard.pop(job_id, None)
        self._left_alone.pop(job_id, None)

    def _note(self, job_id: str, first: datetime) -> None:
        try:
            with translate_errors("noting when jobs began"):
                self._cluster.patch(JOBS, job_id, {"metadata": {"annotations": annotation(first)}})
        except LyftLearnError as exc:  # it was deleted, or changing it is not granted here
            _log.info("%s began at %s, which could not be noted: %s", job_id, first, exc)


def annotation(first: datetime | None) -> dict[str, str]:
    """Return what a Job keeps of its first start, if it has begun."""
    return {labels.STARTED: f"{first:%Y-%m-%dT%H:%M:%S.%fZ}"} if first else {}


def _is_safe(first: datetime, pods: Sequence[ObservedPod]) -> bool:
    """Whether a pod tells it that stays as long as its Job."""
    return any(pod.started_at == first and not (pod.deleted or pod.disruption) for pod in pods)
