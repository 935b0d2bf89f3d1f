"""After a silence nothing is a refusal: every request that settles a create is answered with every error there is.

The create is accepted and its answer lost, or never accepted at all; then each request of the same call gets one error.
With and without a key, before and after a flip, on both remote backends: never a second job, never another's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from tests.backends.sagemaker.conftest import BUCKET, ROLE, aws, sagemaker, service
from tests.backends.sagemaker.conftest import IMAGE as TRAINING_IMAGE
from tests.doubles.cluster.cluster import IMAGE as POD_IMAGE
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.sagemaker import Service
from tests.doubles.scripted_proxy import LOST, Answer, ScriptedProxy

__all__ = ["aws", "sagemaker", "service"]
pytestmark = pytest.mark.slow
Launch = Callable[..., lyftlearn.Client]


def status(code: int, reason: str, message: str) -> Answer:
    document = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}
    return Answer(code, json.dumps(document).encode(), {"Content-Type": "application/json", "Retry-After": "0"})


def error(code: str, status: int = 400, message: str = "no") -> Answer:
    body = json.dumps({"__type": code, "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.1"})


ANYWHERE = {
    "reset": LOST,
    "garbage": Answer(raw=b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
    "cut": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"),
    "html": Answer(200, b"<html>log in</html>", {"Content-Type": "text/html"}),
    "html 403": Answer(403, b"<html>no</html>", {"Content-Type": "text/html"}),
    "html 404": Answer(404, b"<html>no</html>", {"Content-Type": "text/html"}),
    "empty": Answer(200),
    "empty object": Answer(200, b"{}", {"Content-Type": "application/json"}),
    "redirect": Answer(302, b"", {"Location": "http://127.0.0.1:9/"}),
    "502": Answer(502, b"bad gateway"),
}
KUBERNETES = ANYWHERE | {
    "401": status(401, "Unauthorized", "Unauthorized"),
    "403 rbac": status(403, "Forbidden", 'jobs.batch is forbidden: User "x" cannot get resource "jobs" in API group'),
    "403 quota": status(403, "Forbidden", "exceeded quota: jobs, requested: count/jobs.batch=1, used: 5"),
    "404 job": status(404, "NotFound", 'jobs.batch "x" not found'),
    "404 namespace": status(404, "NotFound", f'namespaces "{NAMESPACE}" not found'),
    "409": status(409, "AlreadyExists", 'jobs.batch "x" already exists'),
    "410": status(410, "Expired", "too old"),
    "422": status(422, "Invalid", "Job.batch is invalid"),
    "400 webhook": status(400, "BadRequest", 'admission webhook "x" denied the request'),
    "429": status(429, "TooManyRequests", "slow down"),
    "500": status(500, "InternalError", "etcdserver: request timed out"),
    "503": status(503, "ServiceUnavailable", "apiserver is shutting down"),
}
SAGEMAKER = ANYWHERE | {
    code: error(code)
    for code in (
        "AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId",
        "SignatureDoesNotMatch", "ResourceNotFound", "ResourceInUse", "ConflictException", "ThrottlingException",
        "ValidationException", "UnknownOperationException", "SomethingNew",
    )
} | {
    "ResourceLimitExceeded": error("ResourceLimitExceeded", message="service limit 'ml.m5.large' is 0"),
    "not found": error("ValidationException", message="Requested resource not found."),
    "role": error("ValidationException", message="Could not assume role arn:aws:iam::123456789012:role/x"),
    "InternalFailure": error("InternalFailure", 500),
    "ServiceUnavailable": error("ServiceUnavailable", 503),
}  # fmt: skip


class Schedule:
    """Loses the answer to the first create, or the create itself, and answers everything after it with one error."""

    def __init__(self, is_create: Callable[[str, str, dict[str, str]], bool], answer: Answer, *, arrives: bool) -> None:
        self._is_create = is_create
        self._answer = answer
        self._arrives = arrives
        self.begun = False
        self.over = False

    def __call__(self, method: str, path: str, _: bytes, headers: dict[str, str]) -> tuple[bool, Answer | None]:
        if self.over:
            return True, None
        if self.begun:
            return False, self._answer
        self.begun = self._is_create(method, path, headers)
        return (self._arrives, LOST) if self.begun else (True, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose patience soon: what is tested is what is made of an error, not how long it is borne."""
    monkeypatch.setattr("lyftlearn._submission.submitter._PAUSES", (0.0, 0.01))
    for name in ("RETRY_SECONDS", "BUSY_SECONDS", "DENIED_SECONDS"):
        monkeypatch.setattr(f"lyftlearn_kubernetes.api.cluster.{name}", 0.3)


def launch(home: Path, table: dict[str, Any], new: str, **rest: Any) -> Launch:
    def client(stage: str) -> lyftlearn.Client:
        migration = {"from": "old", "to": new, "stage": stage}
        made = lyftlearn.Client(
            config={"home": str(home), "project": "tests", "migration": migration, new: table, "old": {}, **rest}
        )
        backend: Any = made._registry.get(new)
        if new == "sagemaker":
            backend.aws.retry_budget.throttled = backend.aws.retry_budget.unanswered = 0.3
        return made

    return client


def submit(client: lyftlearn.Client, key: str | None) -> str | None:
    """Return the id of the job, also where nobody can know whether it was accepted."""
    try:
        return client.train("eta", command="true", key=key).id
    except lyftlearn.BackendUnavailable as unknown:
        return unknown.job_id


def check(launched: Launch, proxy: ScriptedProxy, schedule: Schedule, old: Path, key: str | None) -> None:
    """Submit through the schedule, flip, and repeat: there is one job in the end, or at most one without a key."""
    proxy.script = schedule
    job_id = submit(launched("live"), key)
    assert schedule.begun
    assert job_id is not None, "it may have been accepted"
    schedule.over = True
    assert list(old.glob("[a-z]*")) == [], "it ran on the other side, too"
    if key is not None:
        for stage in ("off", "live", "complete"):
            assert launched(stage).train("eta", command="true", key=key).id == job_id
        assert list(old.glob("[a-z]*")) == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@dataclass(frozen=True)
class Case:
    """arrives: whether the create reached the server before its answer was lost."""

    arrives: bool
    key: str | None


@pytest.fixture(params=[Case(True, None), Case(True, "nightly"), Case(False, None), Case(False, "nightly")], ids=repr)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def endpoint(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProxy]:
    """Stand before the test service."""
    with ScriptedProxy(service.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", proxy.url)
        yield proxy


@pytest.mark.parametrize("answer", KUBERNETES)
def test_kubernetes(plugins: Path, cluster: Cluster, tmp_path: Path, answer: str, case: Case) -> None:
    """A restarted API server answers 403 until its informers have synced, to the repeated POST and to the GET."""
    before = {job["metadata"]["name"] for job in cluster.store.all("jobs", NAMESPACE)}
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    with ScriptedProxy(cluster.api.url) as proxy:
        kubeconfig = cluster.kubeconfig(url=proxy.url, name=f"{tmp_path.name}.json")
        table = {"kubeconfig": str(kubeconfig), "volumes": [volume]}
        launched = launch(plugins, table, "kubernetes", jobs={"image": POD_IMAGE})
        create = Schedule(
            lambda method, path, _: method == "POST" and path.partition("?")[0].endswith("/jobs"),
            KUBERNETES[answer],
            arrives=case.arrives,
        )
        unique = case.key and f"{case.key}-{tmp_path.name}"
        check(launched, proxy, create, plugins / "old", unique)
        made = {job["metadata"]["name"] for job in cluster.store.all("jobs", NAMESPACE)} - before
        assert len(made) <= 1
        assert len(made) == 1 or case.key is None


@pytest.mark.parametrize("answer", SAGEMAKER)
def test_sagemaker(plugins: Path, service: Service, endpoint: ScriptedProxy, answer: str, case: Case) -> None:
    """A token that expires between the create and its repetition says nothing about the create."""
    service.conduct.containers = False
    table = {"role": ROLE, "image": TRAINING_IMAGE, "region": "us-east-1"}
    launched = launch(plugins, table, "sagemaker", storage={"url": f"s3://{BUCKET}/{plugins.parent.name}"})
    create = Schedule(
        lambda _, __, headers: headers.get("X-Amz-Target", "").endswith(".CreateTrainingJob"),
        SAGEMAKER[answer],
        arrives=case.arrives,
    )
    check(launched, endpoint, create, plugins / "old", case.key)
    made = list(launched("complete").jobs())
    assert len(made) <= 1
    assert len(made) == 1 or case.key is None
