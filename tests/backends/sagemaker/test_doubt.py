"""After a silence nothing is a refusal: whatever settles a create, a job runs once, and no caller falls back."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions as vendor
import pytest

from lyftlearn.backend import JobQuery, JobRecord, LogQuery
from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError, QuotaExceeded
from lyftlearn_sagemaker.api.botocore_errors import error_of
from lyftlearn_sagemaker.api.errors import Kind
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import AFTERWARDS, REFUSALS, Fault

CREATE, DESCRIBE = "CreateTrainingJob", "DescribeTrainingJob"
REFUSAL = (AccessDenied, InvalidJob, QuotaExceeded)
SILENCES = ("dropped", "page 403", "portal", "cut")
ANSWERS = ("denied", "expired", "missing", "quota")


@pytest.fixture(autouse=True)
def without_containers(service: Service) -> None:
    """What runs in them is tested elsewhere."""
    service.conduct.containers = False


@pytest.fixture
def backend(make: Make) -> SageMakerBackend:
    """One that gives up soon."""
    made = make()
    made.aws.retry_budget.unanswered = made.aws.retry_budget.throttled = 1.0
    return made


def _outcome(backend: SageMakerBackend, job: Any) -> str:
    """Submit and return `accepted`, `doubt` (the error has the id), or `no` (it certainly was not accepted)."""
    try:
        assert backend.submit(backend.plan(job)).id == job.id
    except BackendUnavailable as exc:
        return "doubt" if exc.job_id == job.id else "no"
    except LyftLearnError:
        return "no"
    return "accepted"


@pytest.mark.parametrize("name", REFUSALS)
def test_the_creates_own_first_answer_may_refuse(
    service: Service, backend: SageMakerBackend, storage_url: str, name: str
) -> None:
    """Where nothing was lost, a refusal is one: a job must be able to fall back."""
    service.faults.add(CREATE, Fault(REFUSALS[name], before=True))
    job = spec(storage_url)
    assert _outcome(backend, job) == "no"
    assert service.jobs.find(job.id) is None


@pytest.mark.parametrize("name", AFTERWARDS)
def test_an_answer_that_says_nothing_is_settled(
    service: Service, backend: SageMakerBackend, storage_url: str, name: str
) -> None:
    """The job was made, and what came back was not AWS's word: the caller gets that one job."""
    backend.aws.retry_budget.unanswered = 60
    service.faults.add(CREATE, Fault(AFTERWARDS[name], before=False))
    job = spec(storage_url)
    assert _outcome(backend, job) == "accepted"
    assert service.count(CREATE) == 2


@pytest.mark.parametrize("name", AFTERWARDS)
def test_nobody_knows_when_no_answer_ever_comes(
    service: Service, backend: SageMakerBackend, storage_url: str, name: str
) -> None:
    """The error has the id, or a second job would run elsewhere."""
    service.faults.add(CREATE, Fault(AFTERWARDS[name], before=False))
    service.faults.add(CREATE, Fault(AFTERWARDS[name], before=True), 100)
    assert _outcome(backend, spec(storage_url)) == "doubt"


@pytest.mark.parametrize(
    ("silence", "answer"),
    [
        pytest.param(silence, answer, marks=() if silence in SILENCES and answer in ANSWERS else pytest.mark.slow)
        for silence in AFTERWARDS
        for answer in REFUSALS
    ],
)
def test_what_settles_a_doubt_cannot_refuse(
    service: Service, backend: SageMakerBackend, storage_url: str, silence: str, answer: str
) -> None:
    """The repeated create and the describe that settle it may fail with each error there is."""
    for settling in ((CREATE,), (DESCRIBE,), (CREATE, DESCRIBE)):
        job = spec(storage_url)
        service.faults.add(CREATE, Fault(AFTERWARDS[silence], before=False))
        for operation in settling:
            service.faults.add(operation, Fault(REFUSALS[answer], before=True))
        assert _outcome(backend, job) in ("accepted", "doubt"), settling
        service.faults.clear()
        assert _outcome(backend, job) == "accepted"
        assert [one.name for one in service.jobs.all() if one.name == job.id] == [job.id]


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_taken_name_is_nobodys_refusal(
    service: Service, backend: SageMakerBackend, storage_url: str, answer: str
) -> None:
    """A job with this id is there; whether it is this one could not be read, so nobody may start another."""
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    service.faults.add(DESCRIBE, Fault(REFUSALS[answer], before=True), 100)
    assert _outcome(backend, job) == "doubt"


SENT = [
    vendor.SSLError(endpoint_url="x", error=OSError("record layer failure")),
    vendor.ProxyConnectionError(proxy_url="x", error="reset"),
    vendor.ConnectionError(error=OSError("reset")),
    vendor.ConnectionClosedError(endpoint_url="x", error="x", request=None),
    vendor.ReadTimeoutError(endpoint_url="x", error="x"),
    vendor.HTTPClientError(error=RuntimeError("can't start new thread")),
    vendor.ResponseStreamingError(error="x"),
    vendor.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    vendor.BotoCoreError(),
    OSError("x"),
    MemoryError(),
]


@pytest.mark.parametrize("exc", SENT, ids=lambda exc: type(exc).__name__)
def test_what_is_not_known_as_unsent_may_have_arrived(exc: Exception) -> None:
    """A list of silences is never complete; a list of what never left can be."""
    error, _ = error_of(exc, "create", {})
    assert (error.kind, error.maybe_applied) == (Kind.UNANSWERED, True)


@pytest.mark.parametrize("exc", SENT, ids=lambda exc: type(exc).__name__)
def test_an_exception_after_the_commit(
    service: Service, backend: SageMakerBackend, storage_url: str, exc: Exception
) -> None:
    """Whatever comes out of botocore once the request is on its way, the job is there and its id is told."""
    client = backend.aws.client("sagemaker")

    def fail(**_: Any) -> None:
        client.meta.events.unregister("needs-retry.sagemaker.CreateTrainingJob", unique_id="break")
        raise exc

    client.meta.events.register_first("needs-retry.sagemaker.CreateTrainingJob", fail, unique_id="break")
    job = spec(storage_url)
    assert _outcome(backend, job) in ("accepted", "doubt")
    assert service.jobs.find(job.id)


@pytest.fixture
def tls(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A TLS end in front of the test service that carries the first request out and then breaks the connection."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_break_after_request, args=(listening, context, service.http.server_address))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", f"https://localhost:{listening.getsockname()[1]}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    yield str(certificate)
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def _break_after_request(listening: socket.socket, context: ssl.SSLContext, target: Any) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        try:
            secure = context.wrap_socket(connection.dup(), server_side=True)
        except OSError:
            connection.close()
            continue
        request = secure.recv(1 << 20)
        while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < _length(request):
            request += secure.recv(1 << 20)
        with socket.create_connection(target) as service:
            service.sendall(request)
            service.recv(1 << 16)
        connection.sendall(b"no TLS record at all, whatever the request was")
        connection.close()
        secure.close()


def _length(request: bytes) -> int:
    headers = request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in headers if line.startswith(b"content-length:"))


def test_tls_that_breaks_after_the_commit(service: Service, make: Make, storage_url: str, tls: str) -> None:
    """Botocore says SSLError for it, as it does for a handshake that failed: the job may be there."""
    backend = make()
    backend.aws.retry_budget.unanswered = 0.1
    job = spec(storage_url)
    assert _outcome(backend, job) == "doubt"
    assert service.jobs.find(job.id)


def test_a_certificate_that_is_not_trusted(
    service: Service, make: Make, storage_url: str, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake ends before any request is written, so it is certain that nothing was accepted."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    backend = make()
    backend.aws.retry_budget.unanswered = 0.1
    assert _outcome(backend, spec(storage_url)) == "no"
    assert service.count(CREATE) == 0


def test_a_child_process_has_its_own_clients(service: Service, make: Make, storage_url: str) -> None:
    """Parent and children that share a socket read each other's answers; a lock held at the fork is held for ever."""
    backend = make()
    jobs = [spec(storage_url) for _ in range(3)]
    for job in jobs:
        backend.submit(backend.plan(job))
    parents = backend.aws.client("sagemaker")
    with backend.aws._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if _describes_alone(backend, parents, [job.id for job in jobs]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.aws.client("sagemaker") is parents


def _describes_alone(backend: SageMakerBackend, parents: Any, ids: list[str]) -> bool:
    return all(backend.describe(one).id == one for one in ids) and backend.aws.client("sagemaker") is not parents


@pytest.mark.parametrize(
    "url", ["localhost:80", "http//localhost", "http://", "http://localhost:port", "http://localhost:99999", "ftp://x"]
)
def test_an_endpoint_that_is_no_url(make: Make, storage_url: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in a variable is told by the variable's name, and without a traceback of botocore's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
    with pytest.raises(LyftLearnError, match="AWS_ENDPOINT_URL_SAGEMAKER is no URL of a server") as caught:
        make().describe("eta-tsaaaaaaaaaaa")
    assert not isinstance(caught.value, BackendUnavailable)


@pytest.mark.parametrize(
    "endpoint", ["http://user:c4n4ry-t0-be-hidden@127.0.0.1:9", "http://h.invalid/?token=c4n4ry-t0"]
)
def test_an_endpoint_keeps_its_secrets(
    make: Make, storage_url: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot be reached is named by botocore with all that opens it, in the error and in what it came from."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", endpoint)
    backend = make()
    backend.aws.retry_budget.unanswered = 0.0
    with pytest.raises(BackendUnavailable) as caught:
        backend.describe("eta-tsaaaaaaaaaaa")
    assert "c4n4ry" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("StopTrainingJob", lambda backend, job: backend.stop(job.id)),
        ("Search", lambda backend, job: _found(list(backend.list(JobQuery())), job)),
        ("DescribeTrainingJob", lambda backend, job: _found([backend.describe(job.id)], job)),
    ],
)
def test_a_page_with_status_200_says_nothing(
    service: Service, backend: SageMakerBackend, storage_url: str, operation: str, ask: Any
) -> None:
    """It was read as a stop that took effect, and as an account without jobs."""
    job = spec(storage_url)
    backend.submit(backend.plan(job))
    backend.aws.retry_budget.unanswered = 0.0
    service.faults.add(operation, Fault(AFTERWARDS["portal"], before=True))
    with pytest.raises(BackendUnavailable):
        ask(backend, job)
    backend.aws.retry_budget.unanswered = 30.0
    service.faults.add(operation, Fault(AFTERWARDS["portal"], before=True))
    ask(backend, job)
    assert service.count(operation) >= 3


def _found(records: list[JobRecord], job: Any) -> None:
    assert [record.id for record in records] == [job.id]


def test_a_page_in_the_place_of_a_log(
    service: Service, backend: SageMakerBackend, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read as a log without lines."""

    class Portal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    job = spec(storage_url)
    backend.submit(backend.plan(job))
    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(BackendUnavailable, match="something between here and AWS answered"):
            list(backend.logs(job.id, LogQuery()))
        server.shutdown()
        thread.join()
