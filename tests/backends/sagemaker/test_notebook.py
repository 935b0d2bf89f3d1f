"""Notebooks on SageMaker: real JupyterLab in a training container, reached as a session reaches it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
import pytest

from lyftlearn.backend import JobSpec, NotebookAddress, NotebookSpec, open_storage
from lyftlearn.errors import LyftLearnError
from lyftlearn.testing import Harness
from lyftlearn.types import JobKind, JobStatus
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker.conftest import Make
from tests.doubles.cluster.store import wait_until
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import Refused
from tests.doubles.sagemaker.sessions import forwarded_port
from tests.jupyter import PATIENCE, Lab

CELL = """
import os, pathlib
print(os.environ["PASSWORD"], os.environ["LYFTLEARN_JOB_KIND"], open(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read())
pathlib.Path("kept.txt").write_text("from the first run")
"""
IDLE = 30
"""Seconds: longer than a kernel takes to start on a busy machine, which is no activity."""
FILES = "explore-abcdefghijk"


@pytest.fixture
def backend(make: Make) -> SageMakerBackend:
    """With the test's own storage."""
    return make()


@pytest.fixture
def harness(service: Service, backend: SageMakerBackend, storage_url: str) -> Iterator[Harness]:
    """What the conformance suite makes jobs with."""
    service.conduct.grace = 60.0
    made = Harness(backend, storage_url, ("python3",), PATIENCE)
    yield made
    made.close()


def notebook(harness: Harness, **changes: Any) -> JobSpec:
    spec = harness.spec(kind=JobKind.NOTEBOOK, outputs={}, command=("jupyter", "lab"), timeout=timedelta(days=365))
    own = NotebookSpec(files=FILES, idle_timeout=changes.pop("idle_timeout", None))
    return dataclasses.replace(spec, notebook=own, **changes)


@contextmanager
def opened(service: Service, backend: SageMakerBackend, job_id: str) -> Iterator[Lab]:
    """Open a run as soon as it is ready, by the command that its address names."""
    wait_until(lambda: backend.notebook_address(job_id) is not None, PATIENCE)
    address = backend.notebook_address(job_id)
    assert address is not None
    assert address.forward is not None
    port = forwarded_port(service, address.forward)
    assert f"//127.0.0.1:{port}/" in address.url
    yield Lab(address.url)


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
def test_two_runs_of_a_notebook(service: Service, harness: Harness, backend: SageMakerBackend) -> None:
    """Secret, contract and files hold; an idle run says so; the token is a run's own, and in nothing that is kept."""
    secrets: Any = boto3.client("secretsmanager")
    secrets.create_secret(Name="db-of-notebooks", SecretString='{"PASSWORD": "hunter2-hunter2"}')
    first = notebook(harness, secrets=("db-of-notebooks",), idle_timeout=timedelta(seconds=IDLE))
    harness.submit(first)
    with opened(service, backend, first.id) as lab:
        assert lab.run(lab.kernel(), CELL) == "hunter2-hunter2 notebook {}\n"
        token = lab.token
    state = harness.wait(first.id)
    assert (state.status, state.reason) == (JobStatus.STOPPED, None), state
    assert state.message == "idle for 30s, so it was stopped; its files are kept, and `start()` opens it again"
    assert token not in "\n".join([*harness.lines(first.id), repr(backend.describe(first.id))])
    second = notebook(harness, secrets=("db-of-notebooks",))
    harness.submit(second)
    with opened(service, backend, second.id) as lab:
        assert lab.ask("GET", "contents/kept.txt")["content"] == "from the first run"
        assert [file["name"] for file in lab.ask("GET", "contents/")["content"]] == ["kept.txt"]
        assert lab.token != token
    backend.stop(second.id)
    assert harness.wait(second.id).status is JobStatus.STOPPED
    with pytest.raises(Refused, match="not connected"):
        forwarded_port(service, _forward(second.id))


def _forward(job_id: str) -> str:
    return (
        f"aws ssm start-session --region us-east-1 --target sagemaker-training-job:{job_id}_algo-1 "
        '--document-name AWS-StartPortForwardingSession --parameters \'{"portNumber":["1"],"localPortNumber":["1"]}\''
    )


def test_the_plan_of_a_notebook(harness: Harness, backend: SageMakerBackend, storage_url: str) -> None:
    """Every run has the same files, a session may reach it, and it lasts for as long as SageMaker lets it."""
    first, second = (backend.plan(notebook(harness)) for _ in range(2))
    assert not first.faults
    body = first.requests[-1].body
    assert body["CheckpointConfig"] == {"S3Uri": f"{storage_url}/notebooks/{FILES}"}
    assert body["CheckpointConfig"] == second.requests[-1].body["CheckpointConfig"]
    assert body["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert body["StoppingCondition"]["MaxRuntimeInSeconds"] == 28 * 86400
    document = first.requests[0].body["Body"]
    assert document["timeout"] is None
    assert document["notebook"]["state"] == f"/opt/ml/checkpoints/{first.spec.id}.json"


def test_no_session_reaches_other_jobs(service: Service, harness: Harness, backend: SageMakerBackend) -> None:
    """Nobody's train job is opened to sessions by the way, and it has no address."""
    service.conduct.containers = False
    spec = harness.spec()
    assert "RemoteDebugConfig" not in backend.plan(spec).requests[-1].body
    harness.submit(spec)
    assert backend.notebook_address(spec.id) is None
    with pytest.raises(Refused, match="not connected"):
        forwarded_port(service, _forward(spec.id))


def test_network_isolation_leaves_no_way_in(harness: Harness, make: Make) -> None:
    """A notebook that nobody could open is refused before it costs money."""
    (fault,) = make(network_isolation=True).plan(notebook(harness)).faults
    assert fault[0] == "sagemaker.network_isolation"
    assert "the session that forwards its port" in fault[1]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"port": "x", "path": "/"}', b"[]"])
def test_a_damaged_address_is_told(
    service: Service, harness: Harness, backend: SageMakerBackend, storage_url: str, content: bytes
) -> None:
    """Others can write to the storage: what cannot be read says where it is, and what to do."""
    service.conduct.containers = False
    spec = notebook(harness)
    harness.submit(spec)
    wait_until(lambda: backend.describe(spec.id).event.status is JobStatus.RUNNING, PATIENCE)
    address: NotebookAddress | None = backend.notebook_address(spec.id)
    assert address is None, "the runtime has not said yet that JupyterLab answers"
    open_storage(f"{storage_url}/notebooks/{FILES}").create(f"{spec.id}.json", content)
    with pytest.raises(LyftLearnError, match=f"notebooks/{FILES}/{spec.id}.json.*stop the notebook"):
        backend.notebook_address(spec.id)
