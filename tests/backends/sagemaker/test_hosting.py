"""An endpoint that serves a model: its requests against botocore's model, and its container as SageMaker starts it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator

from lyftlearn.backend import JobSpec, Plan, ServingSpec, open_storage, runtime_archive
from lyftlearn.errors import InvalidJob
from lyftlearn.types import JobKind
from tests.backends.sagemaker.conftest import BUCKET, Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service

SERVER = (Path(__file__).parents[2] / "runtime/programs/serve.py").read_text()


@pytest.fixture(autouse=True)
def without_containers(service: Service) -> None:
    """What runs in them is tested elsewhere."""
    service.conduct.containers = False


def model(storage_url: str, directory: Path) -> tuple[str, str]:
    """A model that multiplies by three, in the bucket: its URI and its digest."""
    (directory / "factor").write_text("3")
    with tarfile.open(directory / "model.tar.gz", "w:gz") as archive:
        archive.add(directory / "factor", "factor")
    digest = hashlib.sha256((directory / "model.tar.gz").read_bytes()).hexdigest()
    return open_storage(storage_url).upload("models/model.tar.gz", directory / "model.tar.gz", digest), digest


def server(storage_url: str, directory: Path, port: int = 8080) -> JobSpec:
    uri, digest = model(storage_url, directory)
    made = spec(storage_url, kind=JobKind.PREDICT, outputs={}, command=("python3", "-c", SERVER), env={"WHO": "me"})
    return replace(made, artifact=uri, serving=ServingSpec(port=port, artifact_sha256=digest))


def bodies(plan: Plan) -> dict[str, Any]:
    return {request.operation.partition(":")[2]: request.body for request in plan.requests}


def test_every_request_is_one_that_sagemaker_takes(make: Make, storage_url: str, tmp_path: Path) -> None:
    """By botocore's model, with the lengths that botocore itself lets pass."""
    backend = make(user={"uid": 1000, "gid": 1000}, vpc={"subnets": ["subnet-1"], "security_groups": ["sg-1"]})
    plan = backend.plan_server(server(storage_url, tmp_path))
    assert plan.faults == ()
    service = botocore.session.get_session().get_service_model("sagemaker")
    for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        shape = service.operation_model(operation).input_shape
        assert shape is not None
        assert ParamValidator().validate(bodies(plan)[operation], shape).generate_report() == ""
    container = bodies(plan)["CreateModel"]["PrimaryContainer"]
    assert all(len(value) <= 1024 for value in container["Environment"].values())
    assert bodies(plan)["CreateEndpoint"]["EndpointName"] == "eta-server"
    document = bodies(plan)["PutObject"]["Body"]
    assert document["grace"] == 10
    assert document["timeout"] is None
    assert document["user"] == {"uid": 1000, "gid": 1000}


@pytest.mark.parametrize(("instance", "has_key"), [("ml.m5.large", True), ("ml.g5.xlarge", False)])
def test_the_key_of_an_endpoints_volume(
    make: Make, storage_url: str, tmp_path: Path, instance: str, has_key: bool
) -> None:
    """As of a job's: botocore's CreateEndpointConfigInput.KmsKeyId refuses it for a disk that is the instance's own."""
    backend = make(instances={"pin": instance}, keys={"volume": "alias/volume"})
    plan = backend.plan_server(server(storage_url, tmp_path))
    assert bodies(plan)["CreateEndpointConfig"].get("KmsKeyId") == ("alias/volume" if has_key else None)


def test_what_sagemaker_cannot_serve_is_said(make: Make, storage_url: str, tmp_path: Path) -> None:
    """Before anybody sends it."""
    isolated = make(network_isolation=True).plan_server(server(storage_url, tmp_path, port=9000))
    assert [path for path, _ in isolated.faults] == ["sagemaker.network_isolation", "port"]
    with pytest.raises(InvalidJob, match="backend sagemaker has no servers"):
        make().plan_server(server(storage_url, tmp_path), "kserve")


def test_a_job_tells_what_it_was(make: Make, storage_url: str) -> None:
    """From the service and the bucket, in another process too."""
    made = spec(storage_url, env={"WHO": "me"}, secrets=("db",))
    backend = make()
    backend.submit(backend.plan(made))
    stored = make().stored_job(made.id)
    assert (stored.image, stored.bundle["env"], stored.bundle["secrets"]["names"]) == (
        backend.plan(made).requests[1].body["AlgorithmSpecification"]["TrainingImage"],
        {"WHO": "me"},
        ["db"],
    )


def test_the_container_serves(make: Make, storage_url: str, tmp_path: Path, aws: str) -> None:
    """Started as `<entrypoint> serve`, with the variables of the model and nothing below /opt/ml."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    plan = make().plan_server(server(storage_url, tmp_path))
    put = bodies(plan)["PutObject"]
    put["Body"]["serving"]["port"] = port  # 8080 may be somebody's here
    boto3.client("s3").put_object(Bucket=BUCKET, Key=put["Key"], Body=json.dumps(put["Body"]).encode())
    own = {"AWS_ENDPOINT_URL": aws, "LYFTLEARN_ROOT": str(tmp_path / "root"), "SAGEMAKER_REGION": "us-east-1"}
    environ = {**os.environ, **own, **bodies(plan)["CreateModel"]["PrimaryContainer"]["Environment"]}
    command = [sys.executable, "-I", str(runtime_archive(tmp_path)), "run", "serve"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines == [
            "loaded 3, ['factor']\n",
            f"lyftlearn: serving on port {port}: the model brings no self-test\n",
        ]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", b"2", {"Content-Type": "text/csv"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == b"6"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
    assert process.returncode == 143
