"""Nodes that start together or not at all, and how long those that came wait for the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lyftlearn.backend import Check, JobSpec, Verdict
from lyftlearn.errors import InvalidJob
from lyftlearn.runtime import nodes
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.status import events
from tests.backends.kubernetes.test_event import NOW, REPORT, end_state, job, pod
from tests.doubles.cluster import validation
from tests.doubles.cluster.access import Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.pod_groups import SCHEDULERS, SCHEMA_FILES, SPECS
from tests.doubles.cluster.store import ApiError, Object, wait_until

NewBackend = Callable[..., KubernetesBackend]
NewHarness = Callable[..., Harness]
OWN, COSCHEDULING, VOLCANO = "scheduling.k8s.io/v1alpha2", *SPECS


@pytest.fixture
def serve(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """Install an API for one test."""
    before = set(cluster.api.extensions)
    yield cluster.api.extensions.add
    cluster.api.extensions = before


Serve = Callable[[str], None]


def spec_of_pods(cluster: Cluster, spec: JobSpec) -> Object:
    pods: Object = cluster.job(spec.id)["spec"]["template"]["spec"]
    return pods


@pytest.mark.parametrize("gang", SCHEMA_FILES)
def test_a_group_of_kubernetes_own(new_backend: NewBackend, harness: Harness, gang: str) -> None:
    """The names of fields changed from one version to the next, and a cluster refuses those of another."""
    spec = harness.spec(nodes=2)
    *_, group, job = (request.body for request in new_backend(gang=gang).plan(spec).requests)
    version = SCHEMA_FILES[gang][1]
    validation.check("podgroups", dict(group), version)
    validation.check("jobs", dict(job), version)
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
    assert job["spec"]["template"]["spec"]["schedulingGroup"] == {"podGroupName": spec.id}


@pytest.mark.parametrize("gang", [VOLCANO, pytest.param(COSCHEDULING, marks=pytest.mark.slow)])
def test_groups_of_other_schedulers(new_harness: NewHarness, serve: Serve, cluster: Cluster, gang: str) -> None:
    """Each finds the group of a pod by a mark of its own, and only pods that name the scheduler are its business."""
    serve(gang)
    harness = new_harness(gang=gang, scheduler=SCHEDULERS[gang], priority_class="batch")
    spec = harness.succeed(harness.spec(nodes=2))
    group = cluster.store.get("podgroups", NAMESPACE, spec.id)
    own = {"priorityClassName": "batch"} if gang == VOLCANO else {}
    assert group["spec"] == {"minMember": 2, **own}
    assert spec_of_pods(cluster, spec)["schedulerName"] == SCHEDULERS[gang]


@pytest.mark.parametrize(
    ("gang", "spec"),
    [
        (COSCHEDULING, {"minMember": 0}),
        (COSCHEDULING, {"minMember": 2, "priorityClassName": "batch"}),
        (VOLCANO, {"minCount": 2}),
        (VOLCANO, {"minMember": "2"}),
        (OWN, {"schedulingPolicy": {"gang": {"minMember": 2}}}),
        (OWN, {"minMember": 2}),
    ],
)
def test_the_double_refuses_fields_that_the_definitions_do_not_have(gang: str, spec: dict[str, Any]) -> None:
    """A double that took every group would prove nothing about them."""
    group = {"apiVersion": gang, "kind": "PodGroup", "metadata": {"name": "a"}, "spec": spec}
    with pytest.raises(ApiError, match="strict decoding error"):
        validation.check("podgroups", group, "1.36")


def test_one_node_is_no_gang(new_backend: NewBackend, harness: Harness) -> None:
    """A group of one would only be one more object that can be refused."""
    backend = new_backend(gang="scheduling.k8s.io/v1beta1")
    assert len(backend.plan(harness.spec()).requests) == 2


def test_a_cluster_that_has_groups_is_asked(new_harness: NewHarness, serve: Serve, cluster: Cluster) -> None:
    """Nobody configures what the cluster can say itself. One question serves all jobs, and the plan tells of it."""
    serve(OWN)
    harness = new_harness()
    specs = [harness.spec(nodes=2) for _ in range(2)]
    assert any("PodGroup" in note for note in harness.backend.plan(specs[0]).notes)
    assert not any("PodGroup" in note for note in harness.backend.plan(harness.spec()).notes)
    for spec in specs:
        harness.submit(spec)
    for spec in specs:
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert spec_of_pods(cluster, spec)["schedulingGroup"] == {"podGroupName": spec.id}
        (owner,) = cluster.store.get("podgroups", NAMESPACE, spec.id)["metadata"]["ownerReferences"]
        assert (owner["name"], owner["uid"]) == (spec.id, cluster.job(spec.id)["metadata"]["uid"])


@pytest.mark.parametrize(
    "configured",
    [{"gang": "none"}, {"queue": "rides-gpu"}, {"labels": {"kueue.x-k8s.io/queue-name": "rides-gpu"}}, {}],
)
def test_no_group_where_none_is_wanted(
    new_backend: NewBackend, harness: Harness, serve: Serve, cluster: Cluster, configured: dict[str, Any]
) -> None:
    """By configuration, because Kueue admits all nodes at once, and because the cluster has those of others only."""
    serve(OWN if configured else VOLCANO)
    backend, spec = new_backend(**configured), harness.spec(nodes=2)
    backend.submit(backend.plan(spec))
    assert cluster.store.find("podgroups", NAMESPACE, spec.id) is None
    assert "schedulingGroup" not in spec_of_pods(cluster, spec)
    backend.stop(spec.id)


def test_groups_that_are_not_granted(new_harness: NewHarness, serve: Serve, cluster: Cluster, caplog: Any) -> None:
    """A Role of yesterday goes on to serve: the nodes start one by one, and the log says why."""
    serve(OWN)
    rules = [
        {"verbs": ["create", "get", "list", "watch", "patch"], "resources": ["jobs"], "apiGroups": ["batch"]},
        {"verbs": ["list", "watch"], "resources": ["pods", "events"], "apiGroups": [""]},
        {"verbs": ["create"], "resources": ["configmaps", "services"], "apiGroups": [""]},
    ]
    cluster.api.access.callers["anything"] = Caller("ci", rules)
    try:
        harness = new_harness()
        harness.succeed(harness.spec(nodes=2))
    finally:
        cluster.api.access.callers.clear()
    assert "its nodes start one by one" in caplog.text
    assert "podgroups" in caplog.text


def test_a_group_that_the_cluster_does_not_have(new_harness: NewHarness) -> None:
    """Whoever configured one wants it: the job is refused, and doctor says what there is instead."""
    harness = new_harness(gang=VOLCANO, scheduler="volcano")
    with pytest.raises(InvalidJob, match=f"gang: the cluster does not have {VOLCANO}"):
        harness.submit(harness.spec(nodes=2))


def _gang_check(backend: KubernetesBackend) -> Check | None:
    return next((check for check in backend.diagnose() if check.name == "gang"), None)


def test_doctor_finds_groups(new_backend: NewBackend, serve: Serve) -> None:
    """What must be configured by hand is advised, and what is configured and not there is a fault."""
    assert _gang_check(new_backend()) is None
    missing = _gang_check(new_backend(models={"eta": {"gang": COSCHEDULING}}))
    assert missing == Check(
        "gang", Verdict.FAILED, f"the cluster does not have {COSCHEDULING}; it has no PodGroups at all"
    )
    serve(VOLCANO)
    serve("kueue.x-k8s.io/v1beta2")
    advice = _gang_check(new_backend())
    assert advice
    assert advice.verdict is Verdict.WARNING
    assert f'set `gang = "{VOLCANO}"`' in advice.detail
    assert "or `queue`" in advice.detail
    assert _gang_check(new_backend(gang="none")) is None
    serve(OWN)
    found = _gang_check(new_backend())
    assert found == Check("gang", Verdict.OK, f"the nodes of a job start together, by {OWN}")


def test_doctor_misses_kueue(new_backend: NewBackend) -> None:
    """A Job with a queue's label starts at once where nobody reads the label, and the quota is nobody's."""
    (queue,) = (check for check in new_backend(queue="rides").diagnose() if check.name == "queue")
    assert queue.verdict is Verdict.FAILED
    assert "no Kueue" in queue.detail


@pytest.mark.parametrize("gang", [OWN, *(pytest.param(gang, marks=pytest.mark.slow) for gang in SPECS)])
def test_a_gang_holds_no_machine_before_all_have_one(
    new_harness: NewHarness, serve: Serve, cluster: Cluster, gang: str
) -> None:
    """Half a gang on expensive machines is what groups are for; after `pending` the job ends, as any that waits."""
    serve(gang)
    harness = new_harness(gang=gang, scheduler=SCHEDULERS.get(gang, "default-scheduler"), pending="3s")
    spec = harness.spec(nodes=2)
    cluster.node.room = 1
    try:
        harness.submit(spec)
        state = harness.wait(spec.id)
    finally:
        cluster.node.room = None
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert state.message.startswith("no machine was free within 0:00:03: ")
    assert state.started_at is None
    assert not any(pod["spec"].get("nodeName") for pod in cluster.pods(spec.id))


def test_nodes_that_came_wait_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody looks at the job, the runtime itself gives the machines back, and the end is the same CAPACITY."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    # The runtime's own: threads of the test cluster go on by the real one.
    monkeypatch.setitem(sys.modules, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    with pytest.raises(RuntimeFailure) as caught:
        nodes.wait_for(nodes.Nodes(0, ["localhost", "never.invalid"]))
    monkeypatch.undo()
    assert 900 <= clock[0] < 910
    report = REPORT % ("null", f'"{caught.value.reason}"', "false")
    ended = pod(end_state(70, message=report.replace("last words", str(caught.value))))
    event = events.event(job("BackoffLimitExceeded"), [ended], NOW)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert event.message.startswith("not all nodes of the job found a place: nodes: no address after 900 s for never")


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
