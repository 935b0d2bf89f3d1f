"""The value of a secret is where its platform keeps secrets, and in the job that asked for it; nowhere else."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.backends.sagemaker.conftest import BUCKET
from tests.doubles.platforms import SECRETS, Platforms, platforms

PASSWORD = "staples that no other prints"
"""Other tests' jobs print the password that they have, and their logs stay in the same moto."""
CANARY = PASSWORD.encode()
SUBMIT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
import lyftlearn
use = "test ${#WAREHOUSE_PASSWORD} -eq 28 && cp $LYFTLEARN_HYPERPARAMETERS $LYFTLEARN_MODEL_DIR"
job = lyftlearn.train("eta", command=use, secrets=["warehouse"], source=sys.argv[1], env={"USER": "$(WAREHOUSE_USER)"})
print(job.wait(progress=False), list(job.logs()), job.outputs, repr(job), job._repr_html_())
failing = "echo no such table >&2; exit 3"
print(lyftlearn.train("eta", command=failing, secrets=["warehouse"]).wait(check=False))
missing = lyftlearn.train("eta", command="true", secrets=["warehouse", "nowhere"])
print(missing.wait(check=False))
"""
PLAN = ["plan", "train", "eta", "--secret", "warehouse", "--json", "--", "true"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    secrets = {**SECRETS, "warehouse": {**SECRETS["warehouse"], "WAREHOUSE_PASSWORD": PASSWORD}}
    with platforms(tmp_path_factory.mktemp("platforms"), secrets) as running:
        if not running.gateway:
            pytest.skip("only what these tests started may be searched")
        yield running


@pytest.mark.parametrize("backend", ["local-sagemaker", "kubernetes", "sagemaker"])
def test_the_value_is_found_nowhere_else(running: Platforms, backend: str, tmp_path: Path) -> None:
    """Requests, objects, logs and files outlive a job, and far more people read them than may know the secret."""
    (tmp_path / "train.py").write_text("")
    told = [_told(running, backend, "-c", SUBMIT, str(tmp_path)), _told(running, backend, "-m", "lyftlearn.cli", *PLAN)]
    assert b"status=<JobStatus.SUCCEEDED" in told[0]
    assert b"exit_code=3" in told[0]
    assert b"nowhere" in told[0]
    kept = {"standard output and error": b"".join(told), **_files(running), **_everything(running)}
    assert len(kept) > 5
    assert [place for place, content in kept.items() if CANARY in content] == []


def test_the_search_finds_what_is_there(running: Platforms) -> None:
    """A search that could not find it would prove nothing."""
    client = _aws(running, "s3")
    client.put_object(Bucket=BUCKET, Key="leak.gz", Body=gzip.compress(CANARY))
    found = [place for place, content in _everything(running).items() if CANARY in content]
    client.delete_object(Bucket=BUCKET, Key="leak.gz")
    assert found == [f"s3://{BUCKET}/leak.gz"]


def _told(running: Platforms, backend: str, *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, *words],
        env=running.variables(backend),
        cwd=running.config.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    return done.stdout


def _files(running: Platforms) -> Mapping[str, bytes]:
    """What lyftlearn keeps on this machine."""
    home = Path(tomllib.loads(running.config.read_text())["home"])
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def _everything(running: Platforms) -> Mapping[str, bytes]:
    """What the platforms keep and show to whoever may read jobs."""
    sources: tuple[Callable[[Platforms], Iterator[tuple[str, bytes]]], ...] = (_objects, _lines, _trainings, _cluster)
    return {place: content for source in sources for place, content in source(running)}


def _objects(running: Platforms) -> Iterator[tuple[str, bytes]]:
    """The platforms' bucket alone. Other tests of this process keep theirs in the same moto."""
    client = _aws(running, "s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            body = client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
            text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            yield f"s3://{BUCKET}/{found['Key']}", text


def _lines(running: Platforms) -> Iterator[tuple[str, bytes]]:
    client = _aws(running, "logs")
    for group in client.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        yield f"log group {name}", json.dumps(client.filter_log_events(logGroupName=name)["events"]).encode()


def _trainings(running: Platforms) -> Iterator[tuple[str, bytes]]:
    client = _aws(running, "sagemaker")
    for job in client.list_training_jobs()["TrainingJobSummaries"]:
        name = job["TrainingJobName"]
        yield f"training job {name}", str(client.describe_training_job(TrainingJobName=name)).encode()


def _cluster(running: Platforms) -> Iterator[tuple[str, bytes]]:
    kubeconfig = json.loads(Path(tomllib.loads(running.config.read_text())["kubernetes"]["kubeconfig"]).read_text())
    server = kubeconfig["clusters"][0]["cluster"]["server"]
    namespace = kubeconfig["contexts"][0]["context"]["namespace"]
    for group, kinds in {"apis/batch/v1": ("jobs",), "api/v1": ("pods", "configmaps", "events", "services")}.items():
        for kind in kinds:
            request = urllib.request.Request(
                f"{server}/{group}/namespaces/{namespace}/{kind}", headers={"Authorization": "Bearer anything"}
            )
            with urllib.request.urlopen(request) as answer:
                yield f"{kind} of the cluster", answer.read()


def _aws(running: Platforms, service: str) -> Any:
    session: Any = boto3
    name = "AWS_ENDPOINT_URL_SAGEMAKER" if service == "sagemaker" else "AWS_ENDPOINT_URL"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return session.client(service, endpoint_url=running.environment[name], region_name="us-east-1", **keys)
