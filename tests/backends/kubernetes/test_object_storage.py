"""With S3, as clusters have it: bundles, inputs, outputs and logs go through the bucket and no directory is shared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lyftlearn.testing import Harness
from lyftlearn.types import JobStatus
from tests.doubles.cluster.cluster import Cluster

BUCKET = "jobs"


@pytest.fixture(scope="module")
def endpoint(cluster: Cluster) -> Iterator[str]:
    """An S3 of this machine's own, which pods can reach as IAM roles would let them."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        cluster.node.environment = environment
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield environment["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture
def storage_url(endpoint: str) -> str:
    return f"s3://{BUCKET}/lyftlearn"


@pytest.fixture
def table(cluster: Cluster) -> dict[str, Any]:
    return {"kubeconfig": str(cluster.kubeconfig())}


def test_a_job_with_everything(harness: Harness, tmp_path: Path) -> None:
    """Hyperparameters too large for the Job, a source, an input, a model: all through the bucket."""
    large = {"features": [f"feature {number}" for number in range(30_000)]}
    train = b"""
import json, os, pathlib
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"]) as file:
    print(len(json.load(file)["features"]))
print(pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights", "a.csv").read_text())
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "weights").write_bytes(b"trained")
"""
    spec = harness.spec(
        command=("python3", "train.py"),
        hyperparameters=json.dumps(large),
        source=harness.put_source({"train.py": train}),
        inputs={"flights": harness.put({"a.csv": b"EWR"})},
    )
    assert harness.output_lines(spec) == ["30000", "EWR"]
    assert harness.fetch(spec.id, "model", tmp_path) == {"weights": b"trained"}


def test_the_log_of_a_stopped_job(harness: Harness) -> None:
    """Its pod is gone as soon as it is stopped."""
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED
    assert harness.lines(spec.id) == ["up"]
