"""What a plan says of Spark on each backend, with nothing at the call site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.backend import Plan
from lyftlearn.errors import InvalidJob

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/spark:1"
CLUSTER = {"server": "https://cluster.example:6443", "credentials": "spark-cluster", "namespace": "ml"}


def plan(tmp_path: Path, backend: str, spark: dict[str, Any], kind: str = "process", **tables: Any) -> Plan:
    config = {
        "home": str(tmp_path),
        "storage": {"url": "s3://ml-jobs/lyftlearn"},
        "jobs": {"image": IMAGE},
        "sagemaker": {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1"},
        "spark": spark,
        **tables,
    }
    asked = {"process": {"name": "count", "command": ["true"]}, "notebook": {"name": "look"}}[kind]
    client = Client(config=config)
    planned: Plan = ops.plan(kind, client=client, backend=backend, **asked).plan  # type: ignore[arg-type]
    return planned


def body(planned: Plan, kind: str) -> dict[str, Any]:
    return next(dict(one.body) for one in planned.requests if one.body.get("kind") == kind)


@pytest.mark.parametrize("backend", ["local", "local-kubernetes", "local-sagemaker"])
def test_local_mode_on_this_machine(tmp_path: Path, backend: str) -> None:
    """Pods would not reach it, and the plan says so."""
    planned = plan(tmp_path, backend, {"executors": "kubernetes", "conf": {"spark.x": "1"}})
    bundle = next(one.body for one in planned.requests if one.operation == "write bundle.json")
    assert bundle["spark"] == {"executors": "local", "jars": [], "conf": {"spark.x": "1"}}
    assert any(note.startswith("spark: in local mode") for note in planned.notes)
    assert not any(note.startswith("spark") for note in plan(tmp_path, backend, {}).notes)


def test_a_pod_that_makes_executors(tmp_path: Path) -> None:
    """It has the account for that, and executors have what its own nodes and account are; without, no token."""
    kubernetes = {
        "namespace": "ml",
        "service_account": "trainer",
        "spark": {"service_account": "spark-driver"},
        "node_selector": {"pool": "ml"},
        "user": "1000:1000",
    }
    spark = {"executors": "kubernetes", "cores": 4, "pod": {"spec": {"nodeSelector": {"spot": "yes"}}}}
    planned = plan(tmp_path, "kubernetes", spark, kubernetes=kubernetes)
    assert planned.faults == ()
    template = body(planned, "Job")["spec"]["template"]
    assert template["spec"]["serviceAccountName"] == "spark-driver"
    assert template["spec"]["automountServiceAccountToken"] is True
    told = json.loads(template["metadata"]["annotations"]["lyftlearn/bundle"])["spark"]
    assert (told["executors"], told["cores"], told["image"]) == ("kubernetes", 4, IMAGE)
    assert told["pod"]["spec"]["nodeSelector"] == {"pool": "ml", "spot": "yes"}
    assert told["pod"]["spec"]["serviceAccountName"] == "trainer"
    assert told["pod"]["spec"]["securityContext"]["runAsUser"] == 1000
    plain = body(plan(tmp_path, "kubernetes", {}, kubernetes=kubernetes), "Job")["spec"]["template"]["spec"]
    assert plain["serviceAccountName"] == "trainer"
    assert not plain.get("automountServiceAccountToken")


def test_a_notebook_lets_its_executors_in(tmp_path: Path) -> None:
    """The policy of notebooks lets nobody in; a second one, executors at the driver's ports."""
    planned = plan(tmp_path, "kubernetes", {"executors": "kubernetes"}, "notebook")
    policies = [one.body for one in planned.requests if one.body.get("kind") == "NetworkPolicy"]
    assert [policy["metadata"]["name"] for policy in policies] == ["lyftlearn-notebooks", "lyftlearn-spark-7078"]
    (rule,) = policies[1]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 7078, "endPort": 7109}]


def test_a_job_on_sagemaker_names_its_cluster(tmp_path: Path) -> None:
    """By an address and a secret, whose values nobody sees."""
    planned = plan(tmp_path, "sagemaker", {"executors": "kubernetes", **CLUSTER})
    told = planned.requests[0].body["Body"]["spark"]
    assert {key: told[key] for key in CLUSTER} == CLUSTER


def test_a_job_on_sagemaker_without_a_cluster(tmp_path: Path) -> None:
    """What is missing is said before anything is sent, and so is what will be in the way."""
    planned = plan(tmp_path, "sagemaker", {"executors": "kubernetes"})
    assert [path for path, _ in planned.faults] == ["spark.server", "spark.credentials", "spark.namespace"]
    complete = plan(tmp_path, "sagemaker", {"executors": "kubernetes", **CLUSTER})
    assert complete.faults == ()
    assert any("in a VPC only" in note for note in complete.notes)
    table = {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1", "network_isolation": True}
    alone = plan(tmp_path, "sagemaker", {"executors": "kubernetes", **CLUSTER}, sagemaker=table)
    assert any("the cluster of its executors" in problem for _, problem in alone.faults)


@pytest.mark.parametrize(
    ("spark", "kubernetes", "path"),
    [
        ({"namespace": "other"}, {"namespace": "ml"}, "spark.namespace"),
        ({}, {"queue": "research", "multikueue": True}, "kubernetes.multikueue"),
    ],
)
def test_what_cannot_be(tmp_path: Path, spark: dict[str, Any], kubernetes: dict[str, Any], path: str) -> None:
    """Pods of one namespace own none of another, and a driver on another cluster is out of reach."""
    planned = plan(tmp_path, "kubernetes", {"executors": "kubernetes", **spark}, kubernetes=kubernetes)
    assert path in [fault[0] for fault in planned.faults]


def test_a_secret_in_a_setting_is_refused(tmp_path: Path) -> None:
    """Before anything is planned."""
    with pytest.raises(InvalidJob, match="a secret by its name"):
        plan(tmp_path, "local", {"conf": {"spark.x.password": "hunter2"}})
