"""What people see who use kubectl, where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.testing import Harness
from tests.kubernetes.cluster.cluster import NAMESPACE, Cluster

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture
def kubectl(cluster: Cluster, tmp_path: Path) -> Any:
    def run(*arguments: str, **options: Any) -> str:
        command = ["kubectl", f"--kubeconfig={cluster.kubeconfig()}", f"--cache-dir={tmp_path}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
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


def test_a_plan_is_what_kubectl_takes(harness: Harness, kubectl: Any, cluster: Cluster) -> None:
    """Whoever distrusts a tool creates the same objects by hand."""
    spec = harness.spec("print('by hand')", nodes=2)
    plan = harness.backend.plan(spec)
    items = [dict(request.body) for request in plan.requests if request.operation.startswith("create")]
    for shared in cluster.store.names("configmaps", NAMESPACE):
        cluster.store.delete("configmaps", NAMESPACE, shared)
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    said = kubectl("create", "--validate=false", "-f", "-", input=document)
    assert f"job.batch/{spec.id} created" in said
    assert harness.wait(spec.id).exit_code == 0
    assert harness.lines(spec.id) == ["by hand", "by hand"]
