"""Kueue as users run it: quotas, priorities, admission checks, and jobs that run on other clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, Option
from lyftlearn.config import load
from lyftlearn.errors import InvalidJob
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_kubernetes import options
from lyftlearn_kubernetes.api.cluster import moment
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.status import queueing
from lyftlearn_sagemaker.options import read_table
from tests.doubles.cluster.access import Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.kueue import Kueue
from tests.doubles.cluster.store import now

NewHarness = Callable[..., Harness]
WAITS = "import pathlib, time\nprint('up', flush=True)\nwhile not pathlib.Path({flag!r}).exists(): time.sleep(0.1)"


@pytest.fixture
def kueue(cluster: Cluster) -> Iterator[Kueue]:
    """One queue with room for one pod, and two priorities."""
    kueue = Kueue(cluster.api, {"rides-gpu": 1}, {"nightly": 0, "urgent": 100})
    yield kueue
    kueue.close()
    kueue.join(120)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, storage_url: str) -> None:
    """What Kueue says is read anew at each look."""
    Path(storage_url.removeprefix("file://")).mkdir(exist_ok=True)
    monkeypatch.setattr(queueing, "REFRESH_SECONDS", 0.0)


def test_a_job_of_higher_priority_takes_the_place(new_harness: NewHarness, kueue: Kueue, tmp_path: Path) -> None:
    """What research runs at night gives way to what is urgent, waits, and ends as if it had only waited longer."""
    low, high = (new_harness(queue="rides-gpu", priority=name) for name in ("nightly", "urgent"))
    flag = tmp_path / "flag"
    nightly = low.quiet(WAITS.format(flag=str(flag)))
    low.submit(nightly)
    low.until_line(nightly.id, "up")
    low.watcher.until(300, nightly.id, lambda state: state.status is JobStatus.RUNNING)
    urgent = high.quiet(WAITS.format(flag=str(flag)))
    high.submit(urgent)
    state = low.watcher.until(300, nightly.id, lambda state: "rides-gpu" in state.message)
    assert state.status is JobStatus.PENDING
    assert state.message.startswith("held back by its queue: number 1 in queue rides-gpu; ")
    high.until_line(urgent.id, "up")
    flag.touch()
    states = [harness.wait(spec.id) for harness, spec in ((high, urgent), (low, nightly))]
    assert [(state.status, state.attempt) for state in states] == [(JobStatus.SUCCEEDED, 1)] * 2
    assert low.lines(nightly.id) == ["up", "up"]


def test_places_in_the_queue_and_checks(new_harness: NewHarness, kueue: Kueue) -> None:
    """Whoever waits wants to know behind how many, for what, and which check comes after the quota."""
    kueue.quotas["rides-gpu"] = 0
    harness = new_harness(queue="rides-gpu")
    first, second = harness.quiet(), harness.quiet()
    for spec in (first, second):
        harness.submit(spec)
        harness.watcher.until(300, spec.id, lambda state: "quota" in state.message)
    message = harness.backend.describe(second.id).event.message
    assert message == (
        "held back by its queue: number 2 in queue rides-gpu; couldn't assign flavors to pod set main: "
        "insufficient unused quota for pods in flavor default, 1 more needed"
    )
    kueue.checks["provisioning"] = ("Pending", "waiting for the node group")
    kueue.quotas["rides-gpu"] = 2
    state = harness.watcher.until(300, first.id, lambda state: "admission check" in state.message)
    assert state.message == (
        "held back by its queue: in queue rides-gpu; admission check provisioning: Pending: waiting for the node group"
    )
    kueue.checks["provisioning"] = ("Ready", "")
    assert [harness.wait(spec.id).status for spec in (first, second)] == [JobStatus.SUCCEEDED] * 2


@pytest.mark.parametrize("room", [0, 1])
def test_a_workload_that_is_deactivated(new_harness: NewHarness, cluster: Cluster, kueue: Kueue, room: int) -> None:
    """Nobody should wait for a quota that is not what is missing."""
    kueue.quotas["rides-gpu"] = room
    harness = new_harness(queue="rides-gpu")
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    if room:
        harness.until_line(spec.id, "up")
    else:
        harness.watcher.until(300, spec.id, lambda state: "quota" in state.message)
    kueue.deactivate(cluster.job(spec.id), "exceeding the maximum execution time")
    state = harness.watcher.until(300, spec.id, lambda state: "deactivated" in state.message)
    why = "The workload is deactivated due to exceeding the maximum execution time"
    assert (state.status, state.message) == (JobStatus.PENDING, f"held back by its queue: in queue rides-gpu; {why}")
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_without_a_permission_for_workloads(new_harness: NewHarness, cluster: Cluster, kueue: Kueue) -> None:
    """Kueue's objects are nobody's business who only submits: the state is right, and one sentence shorter."""
    rules = [
        {"verbs": ["create", "get", "list", "watch", "patch"], "resources": ["jobs"], "apiGroups": ["batch"]},
        {"verbs": ["list", "watch"], "resources": ["pods", "events"], "apiGroups": [""]},
        {"verbs": ["create"], "resources": ["configmaps", "services"], "apiGroups": [""]},
    ]
    cluster.api.access.callers["anything"] = Caller("ci", rules)
    try:
        kueue.quotas["rides-gpu"] = 0
        harness = new_harness(queue="rides-gpu")
        spec = harness.submit(harness.quiet())
        assert harness.backend.describe(spec.id).event.message == "held back by its queue"
        harness.backend.stop(spec.id)
        assert harness.wait(spec.id).status is JobStatus.STOPPED
    finally:
        cluster.api.access.callers.clear()


def test_a_job_on_another_cluster(new_harness: NewHarness, cluster: Cluster, storage_url: str) -> None:
    """MultiKueue copies a Job's status and none of its pods: the state is right, and logs come from the storage."""
    harness = new_harness(queue="rides-gpu", multikueue=True)
    spec = harness.quiet()
    plan = harness.backend.plan(spec)
    assert any("its clusters must have ConfigMap" in note for note in plan.notes)
    job = plan.requests[-1].body
    assert job["spec"]["managedBy"] == "kueue.x-k8s.io/multikueue"
    harness.backend.submit(plan)

    def tell(**status: Any) -> None:
        cluster.store.modify("jobs", NAMESPACE, spec.id, lambda item: item["status"].update(status))

    harness.watcher.until(300, spec.id, lambda state: "another cluster" in state.message)
    began = now()
    tell(active=1, ready=1, startTime=began)
    first = harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING).started_at
    assert first == moment(began)
    cluster.suspend(spec.id, wish=True)
    tell(active=0, ready=0)
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.PENDING)
    cluster.suspend(spec.id, wish=False)
    tell(active=1, ready=1, startTime="2099-01-01T00:00:00Z")  # on a third cluster
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    assert not cluster.pods(spec.id)
    message = f"Container main for pod ml/{spec.id}-x failed with exit code 3 matching FailJob rule at index 1"
    condition = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}
    tell(active=0, ready=0, conditions=[{**condition, "lastTransitionTime": "2026-01-01T00:01:00Z"}])
    folder = Path(storage_url.removeprefix("file://"), "logs", spec.id)
    folder.mkdir(parents=True)
    (folder / "0-0.log").write_text(f"{spec.id}-x\n2026-01-01T00:00:30.000000000Z three\n")
    state = harness.wait(spec.id)
    assert (state.status, state.reason, state.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 3)
    late = new_harness(queue="rides-gpu", multikueue=True).backend.describe(spec.id).event
    assert (state.started_at, late.started_at) == (first, first)
    assert harness.lines(spec.id) == harness.lines(spec.id, follow=True) == ["three"]


def test_what_cannot_work(new_backend: Callable[..., KubernetesBackend], new_harness: NewHarness) -> None:
    """A priority without a queue, logs that nobody could read, and a number of nodes that changes meanwhile."""
    harness = new_harness()

    def faults(**table: Any) -> dict[str, str]:
        return dict(new_backend(**table).plan(harness.spec()).faults)

    assert "name one as `queue`" in faults(priority="urgent")["kubernetes.priority"]
    assert "storage" in faults(queue="q", multikueue=True, volumes=[])["kubernetes.multikueue"]
    assert "PodGroup" in faults(queue="q", multikueue=True, gang=options.OWN_GANGS[0])["kubernetes.gang"]
    elastic = {"kueue.x-k8s.io/job-min-parallelism": "1"}
    assert "number of nodes" in faults(queue="q", annotations=elastic)["kubernetes.labels"]


@pytest.mark.parametrize("kind", [JobKind.NOTEBOOK, JobKind.TUNE])
def test_what_cannot_be_on_another_cluster(
    new_backend: Callable[..., KubernetesBackend], new_harness: NewHarness, kind: JobKind
) -> None:
    """Nobody could reach such a notebook, and such a search would submit its trials where nobody sees them."""
    spec = replace(new_harness().quiet(), kind=kind)
    backend = new_backend(queue="q", multikueue=True)
    assert f"[kubernetes.models.{spec.name}]" in dict(backend.plan(spec).faults)["kubernetes.multikueue"]
    here = new_backend(queue="q", multikueue=True, models={spec.name: {"multikueue": False}})
    assert here.plan(spec).faults == ()


def test_what_a_model_changes(new_backend: Callable[..., KubernetesBackend], new_harness: NewHarness) -> None:
    """One model's jobs are urgent, and nobody wants to write the other settings down a second time for it."""
    harness = new_harness()
    own = {"eta": {"priority": "urgent", "restarts": 0}, "odd": {"gang": "x"}}
    backend = new_backend(queue="rides-gpu", priority="nightly", models=own)
    assert dict(backend.plan(harness.spec()).faults).keys() == {"kubernetes.models.odd.gang"}
    jobs = [backend.plan(harness.spec(name=name)).requests[-1].body for name in ("eta", "other")]
    assert [job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] for job in jobs] == ["urgent", "nightly"]
    assert [job["spec"]["backoffLimit"] for job in jobs] == [0, 3]


def test_what_a_model_changes_on_every_platform(tmp_path: Path) -> None:
    """A limit that holds wherever the flag sends a model is written once; a platform's own table has the last word."""
    common = {"eta": {"pending": "2h", "metrics": "a:1"}}
    table = {"models": {"eta": {"metrics": "b:2"}}}
    kubernetes = options.read(
        BackendSettings(name="kubernetes", table=table, home=tmp_path, storage_url="s3://b/p", models=common)
    ).of("eta")
    sagemaker = read_table("sagemaker", table, common).of("eta")
    assert (kubernetes.pending, kubernetes.metrics) == (timedelta(hours=2), "b:2")
    assert (sagemaker.pending, sagemaker.metrics) == (7200, "b:2")
    narrow = read_table("sagemaker", {}, {"eta": {"pending": "1m"}})
    assert [path for path, _ in narrow.faults] == ["models.eta.pending"]
    with pytest.raises(InvalidJob, match=r"models\.eta\.color"):
        load({"models": {"eta": {"color": "red"}}})


@pytest.mark.parametrize("option", options.OPTIONS, ids=lambda option: option.key)
def test_what_a_model_may_change(tmp_path: Path, option: Option) -> None:
    """A key of the table can be set for one model, or is refused in words: a person wrote it, and gets no traceback."""
    key = option.key.partition(".")[0]
    table = {"queue": "q", "models": {"eta": {key: nested(option)}}}
    settings = BackendSettings(name="kubernetes", table=table, home=tmp_path, storage_url="s3://b/p")
    refused = [path for path, _ in options.read(settings).faults]
    assert refused == ([] if option in options.MODEL_OPTIONS else [f"kubernetes.models.eta.{key}"])


def nested(option: Option) -> Any:
    """Return the example, below the rest of the option's key."""
    value = option.example
    for name in reversed(option.key.split(".")[1:]):
        value = {name: value}
    return value
