"""Logs of CloudWatch: late, throttled, in pages, and complete."""

from __future__ import annotations

import threading
import time
from typing import Any

import boto3
import pytest

from lyftlearn.backend import LogQuery
from lyftlearn_sagemaker import logs
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.surroundings import GROUP, LogStream


@pytest.fixture
def running(service: Service, make: Make, storage_url: str) -> tuple[SageMakerBackend, str]:
    """A job without containers, whose log the test writes by hand."""
    service.conduct.containers = False
    backend = make(log_settle="2s")
    return backend, backend.submit(backend.plan(spec(storage_url, nodes=2))).id


def _write(service: Service, job_id: str, node: int, lines: list[str], epoch: int = 1) -> None:
    stream = LogStream(service.surroundings.logs, f"{job_id}/algo-{node}-{epoch}", 0)
    stream._made = bool(_streams(f"{job_id}/algo-{node}-{epoch}"))
    for line in lines:
        stream.put(line)
    stream.close()


def _streams(prefix: str) -> list[Any]:
    found: list[Any] = boto3.client("logs").describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=prefix)[
        "logStreams"
    ]
    return found


def _finish(service: Service, job_id: str) -> None:
    found = service.jobs.find(job_id)
    assert found
    found.finish()


def _following(backend: SageMakerBackend, job_id: str, seen: list[tuple[int, str]]) -> threading.Thread:
    def follow() -> None:
        seen.extend((line.node, line.text) for line in backend.logs(job_id, LogQuery(follow=True)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def test_streams_that_appear_late(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """One node speaks long before the other has a stream; nobody waits for anybody, and nothing is missed."""
    backend, job_id = running
    seen: list[tuple[int, str]] = []
    thread = _following(backend, job_id, seen)
    _write(service, job_id, 1, ["one", "two"])
    _until(lambda: len(seen) == 2)
    _write(service, job_id, 2, ["three"])
    _until(lambda: len(seen) == 3)
    _finish(service, job_id)
    thread.join(60)
    assert seen == [(0, "one"), (0, "two"), (1, "three")]


def test_lines_that_come_after_the_end(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """CloudWatch shows a job's last words some seconds after SageMaker has said that it ended."""
    backend, job_id = running
    seen: list[tuple[int, str]] = []
    _write(service, job_id, 1, ["first"])
    _finish(service, job_id)
    thread = _following(backend, job_id, seen)
    time.sleep(1)
    _write(service, job_id, 1, ["last"])
    thread.join(60)
    assert seen == [(0, "first"), (0, "last")]


def test_a_node_that_was_started_anew(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """After a spot interruption the node has a second stream: both are read, in their order."""
    backend, job_id = running
    _write(service, job_id, 1, ["before"], epoch=1)
    _write(service, job_id, 1, ["after", "end"], epoch=2)
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["before", "after", "end"]
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=3))] == ["before", "after", "end"]
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=1))] == ["end"]


def test_pages(service: Service, running: tuple[SageMakerBackend, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that comes back unchanged is the end of what is there, and nothing else is."""
    monkeypatch.setattr(logs, "_PAGE", 7)
    backend, job_id = running
    lines = [f"line {number}" for number in range(100)]
    _write(service, job_id, 1, lines)
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == lines
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=30))] == lines[-30:]


def test_throttling(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """GetLogEvents throttles too; what was given is not given again."""
    from botocore.exceptions import ClientError

    backend, job_id = running
    _write(service, job_id, 1, ["one", "two", "three"])
    _finish(service, job_id)
    client = backend.aws.client("logs")
    asked = 0

    def sometimes(**_: Any) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "GetLogEvents")

    client.meta.events.register("before-call.cloudwatch-logs.GetLogEvents", sometimes)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one", "two", "three"]
    assert asked > 2


def test_notes_of_the_runtime_are_no_lines(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """They tell SageMaker the attempt, each on a line of its own; what a command prints is given as it is."""
    backend, job_id = running
    note = '{"event": "running", "attempt": 2, "at": 1767225600.5}'
    _write(service, job_id, 1, [note, "one", f"mine: {note}", '{"event": "running"}'])
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one", f"mine: {note}", '{"event": "running"}']


def _until(reached: Any) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
