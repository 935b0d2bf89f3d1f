"""The surroundings of the tests: moto for S3, Logs, SQS, EventBridge and kin, and the test service for SageMaker.

With `LYFTLEARN_TEST_SAGEMAKER_ROLE` set, the conformance suite runs against a real account instead:
docs/how-to/sagemaker.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lyftlearn._storage import _s3
from lyftlearn.backend import BackendSettings
from lyftlearn_sagemaker import create
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.backends.sagemaker import policy
from tests.doubles.sagemaker import Service, serving
from tests.doubles.sagemaker.policies import serve_simulations

BUCKET = "lyftlearn-test"
ROLE = "arn:aws:iam::123456789012:role/lyftlearn-jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lyftlearn/base:1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "the-secret-key-of-nobody",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_BATCH")

Make = Callable[..., SageMakerBackend]
NewSettings = Callable[..., BackendSettings]


@pytest.fixture(scope="module", autouse=True)
def calls() -> Iterator[None]:
    """Every call of lyftlearn's is one that the documented policy allows."""
    with policy.recorded() as seen:
        yield
    policy.settle(seen)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto, for everything but SageMaker."""
    from moto.server import ThreadedMotoServer

    serve_simulations()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    before = {name: os.environ.get(name) for name in (*CREDENTIALS, *ENDPOINTS)}
    os.environ.update(CREDENTIALS)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield os.environ["AWS_ENDPOINT_URL"]
    server.stop()
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ.update({name: value} if value is not None else {})


@pytest.fixture(scope="session")
def sagemaker(aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The test service of the whole session."""
    with serving(aws, tmp_path_factory.mktemp("sagemaker")) as service:
        os.environ["AWS_ENDPOINT_URL_SAGEMAKER"] = os.environ["AWS_ENDPOINT_URL_BATCH"] = service.url
        yield service


@pytest.fixture
def service(sagemaker: Service) -> Iterator[Service]:
    """The test service, as good as new."""
    sagemaker.reset()
    yield sagemaker
    sagemaker.reset()


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    """A place of the test's own in S3."""
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def new_settings(tmp_path: Path, storage_url: str) -> NewSettings:
    """Make what a backend is made from; keyword arguments change the table `[sagemaker]`."""

    def made(**table: Any) -> BackendSettings:
        whole = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "log_settle": "1s", **table}
        return BackendSettings(name="sagemaker", table=whole, home=tmp_path / "home", storage_url=storage_url)

    return made


@pytest.fixture
def make(new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a backend; keyword arguments change the table `[sagemaker]`."""
    monkeypatch.setattr(_s3, "SECONDS_OF_PATIENCE", 10.0)
    monkeypatch.setattr(_s3, "SECONDS_OF_SILENCE", 5.0)

    def made(**table: Any) -> SageMakerBackend:
        backend = create(new_settings(**table))
        backend.aws.retry_budget.throttled = 10
        backend.aws.retry_budget.unanswered = 5
        return backend

    return made
