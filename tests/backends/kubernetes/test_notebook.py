"""Notebooks on Kubernetes: real JupyterLab in a pod of the tests' cluster, reached as `kubectl port-forward` does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lyftlearn.backend import JobSpec, NotebookSpec, notebook_port
from lyftlearn.errors import BackendUnavailable
from lyftlearn.testing import Harness
from lyftlearn.types import JobKind, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster import forward
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.disturbances import Disturbance
from tests.doubles.cluster.store import ApiError, Object, wait_until
from tests.doubles.cluster.validation import check
from tests.jupyter import PATIENCE, Lab

CELL = """
import os, pathlib
print(os.environ["PASSWORD"], os.environ["LYFTLEARN_JOB_KIND"], open(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read())
pathlib.Path("kept.txt").write_text("from the first run")
"""
IDLE = 30
"""Seconds: longer than a kernel takes to start on a busy machine, which is no activity."""
INGRESS = {"notebook": {"ingress": "https://notebooks.example.com:8443/ml", "ingress_class": "nginx"}}


def notebook(harness: Harness, name: str, **changes: Any) -> JobSpec:
    spec = harness.spec(kind=JobKind.NOTEBOOK, outputs={}, command=("jupyter", "lab"), timeout=timedelta(days=365))
    own = NotebookSpec(files=f"{name}-abcdefghijk", idle_timeout=changes.pop("idle_timeout", None))
    return replace(spec, notebook=own, **changes)


@contextmanager
def opened(cluster: Cluster, backend: KubernetesBackend, job_id: str) -> Iterator[Lab]:
    """Open a run as soon as it is ready."""
    wait_until(lambda: backend.notebook_address(job_id) is not None, PATIENCE)
    address = backend.notebook_address(job_id)
    assert address is not None
    (pod,) = cluster.pods(job_id)
    runner = cluster.kubelet.runner(pod)
    assert runner is not None
    with forward.forwarded(runner._child, 8888, here=notebook_port(job_id)):
        yield Lab(address.url)


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
def test_two_runs_of_a_notebook(cluster: Cluster, harness: Harness, backend: KubernetesBackend) -> None:
    """Secret, contract and files hold; the token is in the run's Secret alone and goes with the Job; idle says so."""
    cluster.create_secret("db", {"PASSWORD": "hunter2-hunter2"})
    first = notebook(harness, "explore", secrets=("db",), idle_timeout=timedelta(seconds=IDLE))
    harness.submit(first)
    with opened(cluster, backend, first.id) as lab:
        assert lab.run(lab.kernel(), CELL) == "hunter2-hunter2 notebook {}\n"
        token = lab.token
    state = harness.wait(first.id)
    assert (state.status, state.reason) == (JobStatus.STOPPED, None), state
    assert state.message.startswith("idle for 30s, so it was stopped")
    kept = json.dumps([cluster.job(first.id), cluster.pods(first.id), *cluster.store.all("events")])
    assert token not in kept
    assert token not in "\n".join(harness.lines(first.id))
    second = notebook(harness, "explore", secrets=("db",))
    harness.submit(second)
    with opened(cluster, backend, second.id) as lab:
        assert lab.ask("GET", "contents/kept.txt")["content"] == "from the first run"
        assert lab.token != token
    backend.stop(second.id)
    assert harness.wait(second.id).status is JobStatus.STOPPED
    cluster.store.delete("jobs", NAMESPACE, first.id)
    wait_until(lambda: cluster.store.find("secrets", NAMESPACE, first.id) is None)


def bodies(backend: KubernetesBackend, spec: JobSpec) -> dict[str, Any]:
    return {request.operation: request.body for request in backend.plan(spec).requests}


def test_the_plan_of_a_notebook(harness: Harness, new_backend: Callable[..., KubernetesBackend]) -> None:
    """Claim, policy and Job, valid for the server; nobody may connect, and no token is in any of it."""
    spec = notebook(harness, "explore")
    planned = bodies(new_backend(notebook={"size": "5Gi", "storage_class": "gp3"}), spec)
    assert [*planned] == [
        "create ConfigMap",
        "create PersistentVolumeClaim",
        "create NetworkPolicy",
        "create Job",
    ]
    kinds = {"PersistentVolumeClaim": "persistentvolumeclaims", "NetworkPolicy": "networkpolicies", "Job": "jobs"}
    for kind, plural in kinds.items():
        check(plural, json.loads(json.dumps(planned[f"create {kind}"])), "1.36")
    claim = planned["create PersistentVolumeClaim"]["spec"]
    assert claim["resources"]["requests"]["storage"] == "5Gi"
    assert claim["storageClassName"] == "gp3"
    assert planned["create NetworkPolicy"]["spec"]["ingress"] == []
    pod = planned["create Job"]["spec"]["template"]["spec"]
    assert {"name": "notebook", "mountPath": "/lyftlearn/notebook"} in pod["containers"][0]["volumeMounts"]


def test_behind_an_ingress(cluster: Cluster, harness: Harness, new_backend: Callable[..., KubernetesBackend]) -> None:
    """The configured URL leads to the run that is open, its controller alone may connect, and no port is forwarded."""
    backend = new_backend(**INGRESS)
    spec = notebook(harness, "behind")
    planned = bodies(backend, spec)
    for kind, plural in (("Ingress", "ingresses"), ("Service", "services"), ("NetworkPolicy", "networkpolicies")):
        check(plural, json.loads(json.dumps(planned[f"create {kind}"])), "1.36")
    (rule,) = planned["create Ingress"]["spec"]["rules"]
    assert rule["host"] == "notebooks.example.com"
    assert rule["http"]["paths"][0]["path"] == "/ml/behind-abcdefghijk/"
    (allowed,) = planned["create NetworkPolicy"]["spec"]["ingress"]
    assert allowed["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    bundle = json.loads(planned["create Job"]["spec"]["template"]["metadata"]["annotations"]["lyftlearn/bundle"])
    assert "--ServerApp.base_url=/ml/behind-abcdefghijk/" in bundle["notebook"]["options"]
    assert bundle["timeout"] is None


@pytest.mark.parametrize(
    ("own_table", "path"),
    [
        ({"size": "lots"}, "kubernetes.notebook.size"),
        ({"ingress": "notebooks.example.com"}, "kubernetes.notebook.ingress"),
        ({"sise": "1Gi"}, "kubernetes.notebook.sise"),
    ],
)
def test_what_is_wrong_in_its_table_is_named(
    harness: Harness, new_backend: Callable[..., KubernetesBackend], own_table: dict[str, str], path: str
) -> None:
    """An operator's typing error is a fault of the plan, and no odd notebook."""
    faults = new_backend(notebook=own_table).plan(notebook(harness, "explore")).faults
    assert [fault[0] for fault in faults] == [path]


def test_a_caller_that_died_before_the_secret_is_made_up_for(
    cluster: Cluster, harness: Harness, backend: KubernetesBackend
) -> None:
    """The Job is the commit point: its pod waits for the Secret, which whoever asks for the address makes."""
    spec = notebook(harness, "orphan")
    cluster.node.runs = False
    try:
        harness.submit(spec)
        made = cluster.store.get("secrets", NAMESPACE, spec.id)
        cluster.store.delete("secrets", NAMESPACE, spec.id)
        assert backend.notebook_address(spec.id) is None
        again = cluster.store.get("secrets", NAMESPACE, spec.id)
    finally:
        cluster.node.runs = True
    token = base64.b64decode(again["data"]["token"]).decode()
    assert len(token) >= 32
    assert again["data"] != made["data"]
    assert again["metadata"]["ownerReferences"][0]["uid"] == cluster.job(spec.id)["metadata"]["uid"]
    backend.stop(spec.id)
    harness.wait(spec.id)


def test_the_cluster_keeps_the_secret_of_a_job_that_came_while_it_collected(
    cluster: Cluster, harness: Harness, backend: KubernetesBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list of Jobs says that a Secret has no owner, if its owner came after the list."""
    listed, created, every = threading.Event(), threading.Event(), cluster.store.all

    def interrupted(kind: str, namespace: str | None = None) -> list[Object]:
        found = every(kind, namespace)
        if kind == "jobs" and threading.current_thread() is cluster.controller and not listed.is_set():
            listed.set()
            created.wait(2)
        return found

    spec = notebook(harness, "meanwhile")
    cluster.node.runs = False
    monkeypatch.setattr(cluster.store, "all", interrupted)
    try:
        assert listed.wait(60)
        harness.submit(spec)
        created.set()
        collected = harness.spec()
        harness.submit(collected)
        wait_until(lambda: bool(cluster.pods(collected.id)))  # so the round in which it was listed is over
        assert cluster.store.find("secrets", NAMESPACE, spec.id) is not None
    finally:
        cluster.node.runs = True
    for job_id in (spec.id, collected.id):
        backend.stop(job_id)
        harness.wait(job_id)


def test_a_secret_whose_creation_had_no_answer(cluster: Cluster, harness: Harness, backend: KubernetesBackend) -> None:
    """The run is accepted all the same; who asks for its address is told in lyftlearn's own words, and then helped."""
    spec = notebook(harness, "silence")
    cluster.node.runs = False
    cluster.api.disturbances.append(Disturbance("create", "secrets"))
    try:
        harness.submit(spec)
        with pytest.raises(BackendUnavailable, match="no answer while creating secrets"):
            backend.notebook_address(spec.id)
        cluster.api.disturbances.clear()
        assert backend.notebook_address(spec.id) is None
        assert cluster.store.find("secrets", NAMESPACE, spec.id) is not None
    finally:
        cluster.api.disturbances.clear()
        cluster.node.runs = True
    backend.stop(spec.id)
    harness.wait(spec.id)


def test_a_claim_that_is_bound_elsewhere(cluster: Cluster, new_harness: Callable[..., Harness]) -> None:
    """A disk in another zone is waited for, and then the job's end says what keeps it."""
    harness = new_harness(pending="2s")
    spec = notebook(harness, "elsewhere")
    cluster.node.claims_elsewhere.add("elsewhere-abcdefghijk")
    harness.submit(spec)
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, "capacity")
    assert "volume node affinity conflict" in state.message


def test_what_a_role_does_not_grant_is_told(
    cluster: Cluster, harness: Harness, backend: KubernetesBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may create Jobs but no claims has no notebook, and nothing of it is left behind."""

    def refuse(verb: str, kind: str, item: Any) -> None:
        if kind == "persistentvolumeclaims":
            raise ApiError(403, "Forbidden", "persistentvolumeclaims is forbidden: User cannot create resource")

    cluster.api.admission.append(refuse)
    spec = notebook(harness, "forbidden")
    try:
        with pytest.raises(Exception, match="creating persistentvolumeclaims"):
            harness.submit(spec)
    finally:
        cluster.api.admission.remove(refuse)
    assert cluster.store.find("jobs", NAMESPACE, spec.id) is None
