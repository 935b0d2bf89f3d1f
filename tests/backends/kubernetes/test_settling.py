"""After a silence nothing is a refusal: whatever answers the requests that are to settle what became of a creation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError, QuotaExceeded
from lyftlearn.testing import Harness
from lyftlearn_kubernetes.api import cluster as requests
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.disturbances import ANSWERS, EVERY_TIME, Disturbance, refusal

NewHarness = Callable[..., Harness]
REFUSALS: dict[str, type[LyftLearnError]] = {
    "400": InvalidJob,
    "401": AccessDenied,
    "403-rbac": AccessDenied,
    "403-quota": QuotaExceeded,
    "403-webhook": AccessDenied,
    "404-namespace": InvalidJob,
    "422": AccessDenied,
}
NOT_CARRIED_OUT = {"404-resource", "409-conflict"}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_SECONDS", "BUSY_SECONDS", "DENIED_SECONDS"):
        monkeypatch.setattr(requests, name, 0.3)


@pytest.fixture
def disturb(cluster: Cluster) -> Iterator[Callable[[Disturbance], None]]:
    yield cluster.api.disturbances.append
    cluster.api.disturbances.clear()


Disturb = Callable[[Disturbance], None]


def disturbance(name: str, verb: str, kind: str, times: int = EVERY_TIME) -> Disturbance:
    status, body = ANSWERS[name]
    return Disturbance(verb, kind, times, status=status, body=body)


@pytest.mark.parametrize("repeated", ANSWERS)
@pytest.mark.parametrize("settling", ["get", "everything"])
def test_a_silence_that_nothing_settles(
    new_harness: NewHarness, cluster: Cluster, disturb: Disturb, repeated: str, settling: str
) -> None:
    """The job was accepted. Whoever takes what comes next for a refusal runs it a second time, elsewhere."""
    harness = new_harness()
    spec = harness.spec()
    plan = harness.backend.plan(spec)
    disturb(Disturbance("create", "jobs", times=1, commit=True))
    if settling == "everything":
        disturb(disturbance(repeated, "", ""))
        cluster.api.disturbances[1].kind = "jobs"
    else:
        disturb(disturbance(repeated, "get", "jobs"))
    with pytest.raises(BackendUnavailable) as caught:
        harness.backend.submit(plan)
    assert caught.value.job_id == spec.id
    disturb(disturbance(repeated, "create", "configmaps"))
    cluster.api.disturbances.clear()
    assert harness.backend.submit(plan).id == spec.id
    assert [job["metadata"]["name"] for job in cluster.store.all("jobs")].count(spec.id) == 1


@pytest.mark.parametrize("name", ANSWERS)
def test_the_first_answer_alone_refuses(harness: Harness, disturb: Disturb, name: str) -> None:
    """What is no refusal of the API itself leaves a doubt, and a doubt has the job's id."""
    spec = harness.spec()
    disturb(disturbance(name, "create", "jobs"))
    with pytest.raises(REFUSALS.get(name, BackendUnavailable)) as caught:
        harness.backend.submit(harness.backend.plan(spec))
    assert type(caught.value) is REFUSALS.get(name, BackendUnavailable)
    doubted = name not in REFUSALS and name not in NOT_CARRIED_OUT
    assert getattr(caught.value, "job_id", None) == (spec.id if doubted else None)


@pytest.mark.parametrize("name", ["403-rbac", "401", "403-webhook"])
def test_what_comes_before_a_repeated_creation(new_harness: NewHarness, disturb: Disturb, name: str) -> None:
    """A second call that is refused at the shared ConfigMap says nothing about the first one's job."""
    harness = new_harness()
    plan = harness.backend.plan(harness.spec())
    disturb(Disturbance("create", "jobs", commit=True))
    with pytest.raises(BackendUnavailable):
        harness.backend.submit(plan)
    harness.backend._creator._there.clear()  # type: ignore[attr-defined]  # as in another process of the same id
    disturb(disturbance(name, "create", "configmaps"))
    with pytest.raises(BackendUnavailable) as caught:
        harness.backend.submit(plan)
    assert caught.value.job_id == plan.spec.id


def test_a_conflict_is_not_that_it_exists(new_harness: NewHarness, cluster: Cluster, disturb: Disturb) -> None:
    """A quota answers 409, too, and jobs that count on a ConfigMap that nobody made are stuck for ever."""
    harness = new_harness()
    for name in cluster.store.names("configmaps", "ml"):
        cluster.store.delete("configmaps", "ml", name)
    disturb(disturbance("409-conflict", "create", "configmaps", times=1))
    harness.submit(harness.spec())
    assert cluster.store.names("configmaps", "ml")


def test_credentials_that_fail_after_a_silence(
    new_harness: NewHarness, disturb: Disturb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that expires between two tries refuses nothing that the first may have done."""
    harness = new_harness()
    plan = harness.backend.plan(harness.spec())
    harness.submit(harness.spec())
    transport = harness.backend._cluster._transport()  # type: ignore[attr-defined]
    send = transport.send

    def expire(method: str, path: str, **request: object) -> object:
        if "/jobs" not in path:
            return send(method, path, **request)
        if method == "POST" and not expired:
            expired.append(path)
            return send(method, path, **request)
        raise AccessDenied("cloud login of the kubeconfig gave no credentials: please log in")

    expired: list[str] = []
    monkeypatch.setattr(transport, "send", expire)
    disturb(Disturbance("create", "jobs", times=1, commit=True))
    with pytest.raises(BackendUnavailable) as caught:
        harness.backend.submit(plan)
    assert caught.value.job_id == plan.spec.id


@pytest.mark.parametrize("body", [ANSWERS["429"][1], refusal(429, "TooManyRequests", "too many requests")])
def test_a_server_that_is_busy(
    new_harness: NewHarness, disturb: Disturb, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    """Its queues say so for seconds, and mean nobody in particular; the API server's own say it without a body."""
    monkeypatch.setattr(requests, "BUSY_SECONDS", 30.0)
    harness = new_harness()
    disturb(Disturbance("create", "jobs", times=6, status=429, body=body))
    harness.submit(harness.spec())


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
        {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "another"}},
        {"kind": "Job", "apiVersion": "batch/v1"},
        [],
    ],
)
def test_an_answer_to_another_question(harness: Harness, disturb: Disturb, body: Any) -> None:
    """Whoever mixes up answers, as connections that two processes share do, has not said that a job was accepted."""
    spec = harness.spec()
    disturb(Disturbance("create", "jobs", status=201, body=body))
    with pytest.raises(BackendUnavailable) as caught:
        harness.backend.submit(harness.backend.plan(spec))
    assert caught.value.job_id == spec.id
