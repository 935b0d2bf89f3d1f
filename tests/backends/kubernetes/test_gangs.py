"""Nodes that start together or not at all, and how long those that came wait for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.store import wait_until

SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"
VERSIONS = {"scheduling.k8s.io/v1alpha2": "1.36", "scheduling.k8s.io/v1beta1": "1.37"}


def faults(document: Mapping[str, Any], name: str, version: str) -> list[str]:
    """What the schema of one version of Kubernetes does not allow."""
    folder = SCHEMAS / f"v{version}.0-local-strict"
    definitions = DRAFT202012.create_resource(json.loads((folder / "_definitions.json").read_text()))
    schema = json.loads((folder / f"{name}.json").read_text())
    registry: Registry[Any] = Registry().with_resource("_definitions.json", definitions)
    return [error.message for error in jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(document)]


@pytest.mark.parametrize("gang", VERSIONS)
def test_a_group_of_kubernetes_own(new_backend: Callable[..., KubernetesBackend], harness: Harness, gang: str) -> None:
    """The names of fields changed from one version to the next, and a cluster refuses those of another."""
    spec = harness.spec(nodes=2)
    *_, group, job = (request.body for request in new_backend(gang=gang).plan(spec).requests)
    version = gang.partition("/")[2]
    assert faults(group, f"podgroup-scheduling-{version}", VERSIONS[gang]) == []
    assert faults(job, "job-batch-v1", VERSIONS[gang]) == []
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
    assert job["spec"]["template"]["spec"]["schedulingGroup"] == {"podGroupName": spec.id}


def test_groups_of_other_schedulers(new_backend: Callable[..., KubernetesBackend], harness: Harness) -> None:
    """Each finds the group of a pod by a mark of its own, and only pods that name the scheduler are its business."""
    spec = harness.spec(nodes=3)
    coscheduling = new_backend(gang="scheduling.x-k8s.io/v1alpha1", scheduler="coscheduling").plan(spec)
    volcano = new_backend(gang="scheduling.volcano.sh/v1beta1", scheduler="volcano").plan(spec)
    for plan in (coscheduling, volcano):
        assert plan.requests[-2].body["spec"] == {"minMember": 3}
    pods = [plan.requests[-1].body["spec"]["template"] for plan in (coscheduling, volcano)]
    assert [pod["spec"]["schedulerName"] for pod in pods] == ["coscheduling", "volcano"]
    assert pods[0]["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == spec.id
    assert pods[1]["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == spec.id


def test_one_node_is_no_gang(new_backend: Callable[..., KubernetesBackend], harness: Harness) -> None:
    """A group of one would only be one more object that can be refused."""
    backend = new_backend(gang="scheduling.k8s.io/v1beta1")
    assert len(backend.plan(harness.spec()).requests) == 2


def test_a_group_goes_with_its_job(new_harness: Callable[..., Harness], cluster: Cluster) -> None:
    """Nothing of lyftlearn's is left when the Job is gone: the group belongs to the Job, whoever created it first."""
    cluster.api.extensions.add("scheduling.k8s.io/v1alpha2")
    harness = new_harness(gang="scheduling.k8s.io/v1alpha2")
    spec = harness.succeed(harness.spec(nodes=2))
    (owner,) = cluster.store.get("podgroups", NAMESPACE, spec.id)["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"]) == (spec.id, cluster.job(spec.id)["metadata"]["uid"])


def test_half_a_gang_is_not_held_for_ever(new_harness: Callable[..., Harness], cluster: Cluster) -> None:
    """Nodes that came hold machines while they wait: after `pending` the job ends, and holds none."""
    harness = new_harness(pending="3s", node_selector={"pool": "ml"})
    cluster.node.labels["pool"] = "ml"
    spec = harness.spec("import time; time.sleep(600)", nodes=2)
    cluster.node.room = 1
    try:
        harness.submit(spec)
        state = harness.wait(spec.id)
    finally:
        cluster.node.room = None
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert state.message.startswith("no machine was free within 0:00:03: ")
    wait_until(lambda: all(pod["status"]["phase"] == "Failed" for pod in cluster.pods(spec.id)))
