"""What people see who use kubectl, where it is installed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from lyftlearn.backend import notebook_port
from lyftlearn.testing import Harness
from lyftlearn_kubernetes import notebooks
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.cluster import IMAGE, NAMESPACE, Cluster

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture
def kubectl(cluster: Cluster, tmp_path: Path) -> Any:
    def run(*arguments: str, **options: Any) -> str:
        command = ["kubectl", f"--kubeconfig={cluster.kubeconfig()}", f"--cache-dir={tmp_path}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    return run


def test_jobs_are_found_by_what_people_call_them(harness: Harness, kubectl: Any) -> None:
    """`kubectl get jobs -l lyftlearn/model=eta` is what an operator types at night."""
    spec = harness.spec(name="arrival", labels={"team": "eta"})
    harness.submit(spec)
    assert spec.id in kubectl("get", "jobs", "-l", "lyftlearn/model=arrival,team=eta")
    assert spec.id not in kubectl("get", "jobs", "-l", "lyftlearn/model=other")
    harness.wait(spec.id)
    found = json.loads(kubectl("get", "pods", "-l", f"lyftlearn/job={spec.id}", "-o", "json"))
    assert len(found["items"]) == 1


@pytest.fixture
def plan(cluster: Cluster, storage_url: str, table: dict[str, Any], tmp_path: Path) -> Any:
    """The command `lyftlearn plan --backend kubernetes`, for this cluster."""
    [volume] = table["volumes"]
    lines = [
        f"storage = {{ url = {json.dumps(storage_url)} }}",
        f"jobs = {{ image = {json.dumps(IMAGE)} }}",
        "[kubernetes]",
        f"kubeconfig = {json.dumps(table['kubeconfig'])}",
        f"volumes = [{{ hostPath = {json.dumps(volume['hostPath'])}, mountPath = {json.dumps(volume['mountPath'])} }}]",
    ]
    (tmp_path / "lyftlearn.toml").write_text("\n".join(lines))

    def run(*arguments: str) -> str:
        program = [sys.executable, "-m", "lyftlearn.cli", "plan", "train", "eta", "--backend", "kubernetes"]
        done = subprocess.run(
            [*program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def forget_shared_objects(cluster: Cluster) -> None:
    for kind in ("configmaps", "services"):
        for shared in cluster.store.names(kind, NAMESPACE):
            cluster.store.delete(kind, NAMESPACE, shared)


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_a_plan_is_what_kubectl_takes(kubectl: Any, cluster: Cluster, plan: Any, nodes: str) -> None:
    """Whoever distrusts a tool pipes its plan into the one that they know, and the server looks at every field."""
    forget_shared_objects(cluster)
    text = plan("--nodes", nodes, "-p", "rate:=0.1", "--", "python", "train.py")
    said = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert said.count("created (server dry run)") == {"1": 2, "2": 3}[nodes]
    assert cluster.store.names("configmaps", NAMESPACE) == []
    with pytest.raises(AssertionError, match="strict decoding error"):
        kubectl(
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
            input=text.replace("completions:", "comptions:"),
        )


def test_a_bundle_in_the_storage_is_no_object(kubectl: Any, cluster: Cluster, plan: Any) -> None:
    """What lyftlearn would upload first is shown, and not handed to kubectl."""
    forget_shared_objects(cluster)
    text = plan("-p", f"large={'x' * 90_000}", "-p", f"larger={'x' * 120_000}", "--", "true")
    assert "# request 1: store" in text
    kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)


def test_what_kubectl_creates_is_the_job(kubectl: Any, cluster: Cluster, plan: Any, harness: Harness) -> None:
    """A plan by hand must run as the same job: texts that look like numbers, dates and truths included."""
    forget_shared_objects(cluster)
    labels = {"a": "1e3", "b": "y", "c": "0o17", "d": "2026-01-31", "e": "null", "f": "off"}
    value = "é\t\u2028 'x' \"y\": 1\n"
    given = [word for name, text in labels.items() for word in ("--label", f"{name}={text}")]
    code = "import json, os; print(json.dumps(os.environ['ODD']))"
    text = plan(*given, "--env", f"ODD={value}", "--", "python3", "-c", code)
    said = kubectl("create", "--validate=strict", "-f", "-", input=text)
    [job_id] = [word.removeprefix("job.batch/") for word in said.split() if word.startswith("job.batch/")]
    assert harness.wait(job_id).exit_code == 0
    assert harness.backend.describe(job_id).labels == labels
    assert labels.items() <= cluster.job(job_id)["metadata"]["labels"].items()
    assert [json.loads(line) for line in harness.lines(job_id)] == [value]


SERVE = """
import http.server, os
os.chdir(os.environ["TMPDIR"])
open("hello.txt", "w").write("hello from the pod " * 10_000)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8888), http.server.SimpleHTTPRequestHandler)
print("up", flush=True)
server.serve_forever()
"""


def test_the_command_that_a_notebook_names_forwards_its_port(
    cluster: Cluster, harness: Harness, backend: KubernetesBackend
) -> None:
    """`url()` tells people to type it: real kubectl leads to the port in the pod, for one request and for many."""
    spec = harness.spec(SERVE)
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    command = shlex.split(notebooks._forward(backend._cluster, backend._options, spec.id))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as kubectl:
        try:
            assert kubectl.stdout is not None
            assert "Forwarding from 127.0.0.1" in kubectl.stdout.readline()
            url = f"http://127.0.0.1:{notebook_port(spec.id)}/hello.txt"
            for _ in range(3):
                assert requests.get(url, timeout=600).text == "hello from the pod " * 10_000
            with ThreadPoolExecutor(4) as pool:
                sizes = list(pool.map(lambda _: len(requests.get(url, timeout=600).content), range(8)))
            assert set(sizes) == {190_000}
        finally:
            kubectl.terminate()
    harness.backend.stop(spec.id)
    harness.wait(spec.id)
