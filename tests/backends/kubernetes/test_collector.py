"""The manifests of the collector: what they grant is enough, and nothing in them is unknown to a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml  # type: ignore[import-untyped]

import lyftlearn
from lyftlearn.history.tables import jobs
from lyftlearn.ops.collect import make_collector
from tests.backends.kubernetes.test_access import documented_rules
from tests.doubles.cluster.access import Access, Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster

MANIFESTS = Path(__file__).parents[3] / "deploy" / "collector" / "kubernetes.yaml"
SUBMITTER, COLLECTOR = "submitter", "collector"


def manifests() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFESTS.read_text())}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that lets in whoever submits, and the collector with its own Role."""
    rules = manifests()["Role"]["rules"]
    callers = {SUBMITTER: Caller("ci", documented_rules())}
    callers[COLLECTOR] = Caller(f"system:serviceaccount:{NAMESPACE}:lyftlearn-collector", rules)
    cluster = Cluster(tmp_path / "cluster", Access(callers))
    yield cluster
    cluster.close()


def client(cluster: Cluster, home: Path, token: str) -> lyftlearn.Client:
    volume = {"hostPath": str(home.parent), "mountPath": str(home.parent)}
    table = {"kubeconfig": str(cluster.kubeconfig(token, name=token)), "volumes": [volume], "starting": "1s"}
    storage = {"url": (home.parent / "storage").as_uri()}
    history = {"url": f"sqlite:///{home.parent / 'history.sqlite'}"}
    return lyftlearn.Client(
        config={"home": str(home), "backend": "kubernetes", "kubernetes": table, "storage": storage, "history": history}
    )


def test_the_role_is_enough(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds a job that nobody entered, ends it where its image never comes, writes that down, and needs no more."""
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    job = client(cluster, tmp_path / "lost", SUBMITTER).train("eta", command="true", image="no-such-image")
    collector = make_collector(client(cluster, tmp_path / "collector", COLLECTOR))
    try:
        for _ in range(600):
            collector.step()
            if collector.ended:
                break
            collector._changed.wait(0.1)
        assert (collector.adopted, collector.ended, collector.errors) == (1, 1, 0)
        (row,) = collector._recorder.history().select(sa.select(jobs))
        assert row["reason"] == "image"
        assert (row["job_id"], row["model"], row["status"]) == (job.id, "eta", "failed")
    finally:
        collector.close()


def test_the_manifests_are_valid() -> None:
    """A cluster refuses a field that it does not know, and a binding that names nothing binds nothing."""
    from kubernetes_validate import validate  # type: ignore[import-untyped]

    documents = manifests()
    for document in documents.values():
        validate(document, "1.29", strict=True)
    binding, pod = documents["RoleBinding"], documents["Deployment"]["spec"]["template"]["spec"]
    account = documents["ServiceAccount"]["metadata"]["name"]
    assert [one["name"] for one in binding["subjects"]] == [account]
    assert binding["roleRef"]["name"] == documents["Role"]["metadata"]["name"]
    assert pod["serviceAccountName"] == account
    (container,) = pod["containers"]
    volumes = {one["name"] for one in pod["volumes"]}
    assert {one["name"] for one in container["volumeMounts"]} == volumes
    assert json.dumps(documents).count("BASE_IMAGE") == 1
