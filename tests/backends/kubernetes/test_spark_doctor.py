"""What doctor says of the ways between drivers of Spark and their executors: which is closed, and by what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, Check, SparkSpec, Verdict
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.access import Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.server import admit

Diagnose = Callable[[], dict[str, Check]]
OURS = {"app.kubernetes.io/managed-by": "lyftlearn"}
EXECUTORS = {"podSelector": {"matchExpressions": [{"key": "lyftlearn/spark-driver", "operator": "Exists"}]}}


@pytest.fixture
def diagnose(cluster: Cluster, tmp_path: Path, table: dict[str, Any], storage_url: str) -> Diagnose:
    for policy in cluster.store.all("networkpolicies", NAMESPACE):
        cluster.store.delete("networkpolicies", NAMESPACE, policy["metadata"]["name"])

    def made() -> dict[str, Check]:
        settings = BackendSettings(
            name="kubernetes",
            table={**table, "spark": {"service_account": "spark"}},
            home=tmp_path / "home",
            storage_url=storage_url,
            spark=SparkSpec(on_kubernetes=True),
        )
        found = list(KubernetesBackend(settings).diagnose())
        return {f"{check.name} {number}": check for number, check in enumerate(found) if "spark" in check.name}

    return made


def policy(cluster: Cluster, name: str, selector: dict[str, Any], ingress: list[dict[str, Any]]) -> None:
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": ingress},
    }
    admit(cluster.api, "create", "networkpolicies", NAMESPACE, document)


def words(checks: dict[str, Check], verdict: Verdict) -> list[str]:
    return [check.detail for check in checks.values() if check.verdict is verdict]


def test_open_ways(diagnose: Diagnose) -> None:
    """Where nothing keeps anybody out, the ports are said all the same: a firewall may."""
    checks = diagnose()
    assert [check.verdict for check in checks.values()] == [Verdict.OK]
    assert "TCP 7078-7109 to drivers and 7110-7125 to executors" in next(iter(checks.values())).detail


def test_a_policy_that_lets_nobody_in(cluster: Cluster, diagnose: Diagnose) -> None:
    """Both ways are closed, for jobs and for notebooks; each is named with its ports."""
    policy(cluster, "default-deny", {}, [])
    found = words(diagnose(), Verdict.FAILED)
    assert "default-deny keeps out TCP 7078-7109 from executors to the drivers of jobs: allow it" in found
    assert "default-deny keeps out TCP 7110-7125 from the drivers of jobs to executors: allow it" in found
    assert len(found) == 4


def test_a_policy_that_lets_executors_in(cluster: Cluster, diagnose: Diagnose) -> None:
    """What one policy keeps out another may let in, port by port."""
    policy(cluster, "default-deny", {"matchLabels": OURS}, [])
    ports = [{"protocol": "TCP", "port": 7078, "endPort": 7109}]
    policy(cluster, "executors", {"matchLabels": OURS}, [{"from": [EXECUTORS], "ports": ports}])
    assert words(diagnose(), Verdict.FAILED) == []
    cluster.store.delete("networkpolicies", NAMESPACE, "executors")
    policy(cluster, "one", {"matchLabels": OURS}, [{"from": [EXECUTORS], "ports": [{"port": 7078}]}])
    assert len(words(diagnose(), Verdict.FAILED)) == 2


def test_policies_that_may_not_be_read(cluster: Cluster, diagnose: Diagnose) -> None:
    """An unknown is told, and is no failure."""
    cluster.api.access.callers["anything"] = Caller("somebody", [])
    try:
        found = words(diagnose(), Verdict.WARNING)
    finally:
        cluster.api.access.callers.clear()
    assert any("network policies cannot be looked at" in detail for detail in found)
