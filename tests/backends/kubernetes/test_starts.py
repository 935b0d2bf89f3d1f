"""When a job began: the same for who watched from the start and for who looks when its first pods are long gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import JobQuery
from lyftlearn.testing import Harness
from lyftlearn.types import JobState, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.status import observed
from tests.backends.kubernetes.test_interruptions import STEPS, WAYS, pod_name
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.disturbances import Disturbance
from tests.doubles.cluster.store import wait_until

NewBackend = Callable[..., KubernetesBackend]
SUSPENSION = "suspension"
LOSSES = [SUSPENSION, *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS)]


def lose(cluster: Cluster, job_id: str, loss: str) -> None:
    """Take a running job's pod away."""
    if loss == SUSPENSION:
        cluster.suspend(job_id, wish=True)
    else:
        WAYS[loss](cluster, pod_name(cluster, job_id))


@pytest.fixture(autouse=True)
def storage(storage_url: str) -> None:
    """A directory that is there before the first pod writes to it."""
    Path(storage_url.removeprefix("file://")).mkdir(exist_ok=True)


def told_late(new_backend: NewBackend, job_id: str) -> set[datetime | None]:
    """What processes say that never saw the job before: one that asks for it, and one that lists."""
    listed = next(record for record in new_backend().list(JobQuery()) if record.id == job_id)
    return {new_backend().describe(job_id).event.started_at, listed.event.started_at}


def begun(harness: Harness, **env: str) -> tuple[str, JobState]:
    """A job whose first run is known, long enough ago that a second one begins at another second."""
    spec = harness.quiet(STEPS, env=env, timeout=timedelta(hours=1))
    harness.submit(spec)
    harness.until_line(spec.id, "run 1")
    state = harness.watcher.until(300, spec.id, lambda state: state.started_at is not None)
    later = (state.started_at or datetime.now(UTC)) + timedelta(seconds=1)
    wait_until(lambda: datetime.now(UTC) > later)
    return spec.id, state


@pytest.mark.parametrize("loss", LOSSES)
def test_a_job_that_is_started_anew_began_once(
    harness: Harness, cluster: Cluster, new_backend: NewBackend, loss: str
) -> None:
    """While it waits, while it runs again, and at its end: its duration is shown and paid for."""
    job_id, first = begun(harness, INTERRUPTIONS="2")
    lose(cluster, job_id, loss)
    if loss == SUSPENSION:
        wait_until(lambda: not cluster.pods(job_id))
        assert told_late(new_backend, job_id) == {first.started_at}
        cluster.suspend(job_id, wish=False)
    harness.until_line(job_id, "run 2")
    assert told_late(new_backend, job_id) == {first.started_at}
    WAYS["eviction"](cluster, pod_name(cluster, job_id))
    state = harness.wait(job_id)
    assert (state.status, state.started_at) == (JobStatus.SUCCEEDED, first.started_at)
    assert told_late(new_backend, job_id) == {first.started_at}


def test_a_stop_forgets_no_start(harness: Harness, cluster: Cluster, new_backend: NewBackend) -> None:
    """The pods of a stopped job are deleted; whoever stops it need not be one who follows it."""
    job_id, first = begun(harness, INTERRUPTIONS="1")
    harness.close()
    new_backend().stop(job_id)
    wait_until(lambda: not cluster.pods(job_id))
    assert told_late(new_backend, job_id) == {first.started_at}


def test_what_was_lost_during_an_outage(harness: Harness, cluster: Cluster, new_backend: NewBackend) -> None:
    """Whoever heard of the start before keeps it for those who come later."""
    job_id, first = begun(harness, INTERRUPTIONS="1")
    cluster.api.stop()
    WAYS["taint"](cluster, pod_name(cluster, job_id))
    wait_until(lambda: len(cluster.pods(job_id)) == 0)
    cluster.api.start()
    assert harness.wait(job_id).started_at == first.started_at
    assert told_late(new_backend, job_id) == {first.started_at}


def test_who_may_not_write_still_follows(harness: Harness, cluster: Cluster) -> None:
    """A start that cannot be kept is not worth a failure, nor a request a second."""
    job_id, first = begun(harness, INTERRUPTIONS="1")
    body = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}
    refusal = Disturbance("patch", "jobs", 100, status=403, body=body)
    cluster.api.disturbances.append(refusal)
    try:
        WAYS["taint"](cluster, pod_name(cluster, job_id))
        assert harness.wait(job_id).started_at == first.started_at
    finally:
        cluster.api.disturbances.clear()
    assert refusal.times == 99


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("", None), ("soon", None), ("2026-01-01T12:00:05.5Z", 5.5), ("1999-01-01T00:00:00Z", 0.0)],
)
def test_an_annotation_that_anybody_may_write(text: str | None, expected: float | None) -> None:
    """No job began before it was created."""
    created = datetime(2026, 1, 1, 12, tzinfo=UTC)
    annotations: dict[str, Any] = {"lyftlearn/started": text} if text is not None else {}
    metadata = {"name": "j", "uid": "u", "creationTimestamp": created.isoformat(), "annotations": annotations}
    first = observed.job({"metadata": metadata}).first_start
    assert (first and (first - created).total_seconds()) == expected
