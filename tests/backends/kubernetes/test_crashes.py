"""A process that dies while it submits, at every boundary of a request: the next one with that key finishes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.types import JobStatus
from tests.doubles.cluster.cluster import IMAGE, Cluster

DIED = 86
SUBMIT = """
import json, os, sys
import lyftlearn
from lyftlearn_kubernetes.api.transport import Transport

config, image, boundary, key = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
send, seen = Transport.send, []

def counting(transport, method, path, **request):
    if method == "GET":
        return send(transport, method, path, **request)
    seen.append(path.partition("?")[0].rpartition("/")[2])
    if boundary == f"before {seen[-1]}":
        os._exit(86)
    answer = send(transport, method, path, **request)
    if boundary == f"after {seen[-1]}":
        os._exit(86)
    return answer

Transport.send = counting
client = lyftlearn.Client(config=config)
job = client.train(
    "eta", command=["sh", "-c", "echo ran"], image=image, key=key, nodes=2, hyperparameters={"large": "x" * 300_000}
)
print(job.id)
"""


@pytest.fixture
def config(table: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    storage = {"url": (tmp_path / "storage").as_uri()}
    return {"backend": "kubernetes", "home": str(tmp_path / "home"), "storage": storage, "kubernetes": table}


def submit(config: dict[str, Any], boundary: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SUBMIT, json.dumps(config), IMAGE, boundary, "the-key"]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("request_to", ["configmaps", "services", "jobs"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_a_boundary(cluster: Cluster, config: dict[str, Any], when: str, request_to: str) -> None:
    """Nothing is lost, and nothing runs twice, wherever the first process died."""
    died = submit(config, f"{when} {request_to}")
    assert died.returncode == DIED, died.stderr
    finished = submit(config, "nowhere")
    assert finished.returncode == 0, finished.stderr
    job = lyftlearn.Client(config=config).job(finished.stdout.strip())
    assert job.wait("60s", progress=False).status is JobStatus.SUCCEEDED
    lines = [line for line in job.logs() if not line.startswith("lyftlearn: ")]
    assert lines == ["ran", "ran"], "each of the two nodes once"
    named = [found["metadata"]["name"] for found in cluster.store.all("jobs")]
    assert named.count(job.id) == 1
    assert len(cluster.pods(job.id)) == 2
