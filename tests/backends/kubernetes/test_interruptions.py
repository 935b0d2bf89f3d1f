"""Pods that the platform ends: by suspension, deletion, eviction, preemption, and with their nodes. The job goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, JobQuery
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobState, JobStatus
from lyftlearn_kubernetes.api.cluster import moment
from lyftlearn_kubernetes.submission import manifests
from tests.doubles.cluster.cluster import IMAGE, NAMESPACE, Cluster
from tests.doubles.cluster.store import ApiError, wait_until

NewHarness = Callable[..., Harness]
STEPS = """
    import os, pathlib, time
    run = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "runs")
    number = int(run.read_text()) + 1 if run.exists() else 1
    run.write_text(str(number))
    print("run", number, flush=True)
    time.sleep(600 if number <= int(os.environ["INTERRUPTIONS"]) else 0)
    print("done", flush=True)
"""


CHECKPOINTED = """
    import os, pathlib, time
    saved = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "saved")
    if not saved.exists():
        saved.touch()
        print("saved", flush=True)
        time.sleep(12)
    print("done", flush=True)
"""


@pytest.fixture(autouse=True)
def storage(storage_url: str) -> None:
    """A directory that is there before the first pod writes to it."""
    Path(storage_url.removeprefix("file://")).mkdir(exist_ok=True)


def pod_name(cluster: Cluster, job_id: str) -> str:
    pods = [pod for pod in cluster.pods(job_id) if pod["status"]["phase"] == "Running"]
    assert len(pods) == 1, [(pod["metadata"]["name"], pod["status"]) for pod in cluster.pods(job_id)]
    return str(pods[0]["metadata"]["name"])


def interrupt(harness: Harness, cluster: Cluster, times: int, how: Callable[[str], object]) -> tuple[JobState, str]:
    """Run a job that is interrupted `times` times, each while it runs; return its end and id."""
    spec = harness.quiet(STEPS, env={"INTERRUPTIONS": str(times)}, timeout=timedelta(hours=1))
    harness.submit(spec)
    for number in range(times):
        harness.until_line(spec.id, f"run {number + 1}")
        harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
        how(spec.id)
    return harness.wait(spec.id), spec.id


def check(harness: Harness, state: JobState, job_id: str, times: int) -> None:
    assert (state.status, state.attempt, state.exit_code) == (JobStatus.SUCCEEDED, 1, 0), state
    expected = [f"run {number + 1}" for number in range(times + 1)]
    assert harness.lines(job_id) == [*expected, "done"]
    assert harness.lines(job_id, follow=True) == [*expected, "done"]


def suspensions(harness: Harness, cluster: Cluster, times: int) -> None:
    """Suspend and resume a running job, and follow its log meanwhile."""

    def how(job_id: str) -> None:
        cluster.suspend(job_id, wish=True)
        state = harness.watcher.until(300, job_id, lambda state: state.status is JobStatus.PENDING)
        assert state.message == "held back by its queue"
        assert harness.backend.describe(job_id).event.status is JobStatus.PENDING
        (listed,) = [record for record in harness.backend.list(JobQuery()) if record.id == job_id]
        assert listed.event.status is JobStatus.PENDING
        wait_until(lambda: all("deletionTimestamp" in pod["metadata"] for pod in cluster.pods(job_id)))
        cluster.suspend(job_id, wish=False)

    check(harness, *interrupt(harness, cluster, times, how), times)


def test_suspension_and_resumption(harness: Harness, cluster: Cluster) -> None:
    """Kueue preempts by suspension: the job waits, runs on from its checkpoints, and ends as its command does."""
    suspensions(harness, cluster, 3)


@pytest.mark.slow
def test_fifty_suspensions(harness: Harness, cluster: Cluster) -> None:
    """A job of low priority on a busy cluster is held back again and again; none of these times may be its last."""
    suspensions(harness, cluster, 50)


WAYS: dict[str, Callable[[Cluster, str], object]] = {
    "kubectl delete pod": lambda cluster, pod: cluster.store.delete("pods", NAMESPACE, pod),
    "eviction": lambda cluster, pod: cluster.disrupt(pod, "EvictionByEvictionAPI", "Eviction API: evicting"),
    "preemption": lambda cluster, pod: cluster.disrupt(pod, "PreemptionByScheduler", "default-scheduler: preempting"),
    "taint": lambda cluster, pod: cluster.disrupt(pod, "DeletionByTaintManager", "Taint manager: deleting"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_pod_that_the_platform_ends(harness: Harness, cluster: Cluster, way: str) -> None:
    """None of these is the command's doing: it starts anew, with its checkpoints, and nobody has to submit it again."""
    state, job_id = interrupt(harness, cluster, 1, lambda job_id: WAYS[way](cluster, pod_name(cluster, job_id)))
    check(harness, state, job_id, 1)


def flicker(cluster: Cluster, job_id: str) -> None:
    """Suspended and resumed faster than anybody looks."""
    for wish in (True, False, True, False):
        cluster.suspend(job_id, wish=wish)


def resume_while_it_ends(cluster: Cluster, job_id: str) -> None:
    """The queue changes its mind before the pod has gone."""
    cluster.suspend(job_id, wish=True)
    wait_until(lambda: all("deletionTimestamp" in pod["metadata"] for pod in cluster.pods(job_id)))
    cluster.suspend(job_id, wish=False)


def delete_while_it_ends(cluster: Cluster, job_id: str) -> None:
    """Somebody deletes the pod by force that its suspension already ends."""
    name = pod_name(cluster, job_id)
    cluster.suspend(job_id, wish=True)
    wait_until(lambda: all("deletionTimestamp" in pod["metadata"] for pod in cluster.pods(job_id)))
    with suppress(ApiError):
        cluster.store.delete("pods", NAMESPACE, name)
    wait_until(lambda: not cluster.pods(job_id))
    cluster.suspend(job_id, wish=False)


def suspend_after_a_lost_node(cluster: Cluster, job_id: str) -> None:
    """The queue takes the place away of a job that has just lost its node."""
    cluster.lose_node_of(next(pod for pod in cluster.pods(job_id) if pod["status"]["phase"] == "Running"))
    cluster.suspend(job_id, wish=True)
    wait_until(lambda: cluster.job(job_id)["status"].get("active", 0) == 0)
    cluster.suspend(job_id, wish=False)


def drain_and_suspend(cluster: Cluster, job_id: str) -> None:
    """A node is drained, and the queue preempts, in one moment."""
    WAYS["eviction"](cluster, pod_name(cluster, job_id))
    cluster.suspend(job_id, wish=True)
    wait_until(lambda: not cluster.pods(job_id))
    cluster.suspend(job_id, wish=False)


ODD_MOMENTS = (flicker, resume_while_it_ends, delete_while_it_ends, suspend_after_a_lost_node, drain_and_suspend)


@pytest.mark.slow
@pytest.mark.parametrize("how", ODD_MOMENTS)
def test_what_comes_together(
    harness: Harness, cluster: Cluster, how: Callable[[Cluster, str], None], new_backend: Callable[[], Backend]
) -> None:
    """Platforms do several things to a job at once; it runs on from what it kept, and everybody says when it began."""
    spec = harness.quiet(CHECKPOINTED, timeout=timedelta(hours=1))
    harness.submit(spec)
    harness.until_line(spec.id, "saved")
    first = harness.watcher.until(300, spec.id, lambda state: state.started_at is not None).started_at
    how(cluster, spec.id)
    state = harness.wait(spec.id)
    assert (state.status, state.attempt, state.exit_code) == (JobStatus.SUCCEEDED, 1, 0), state
    assert harness.lines(spec.id)[-1] == "done"
    assert {state.started_at, new_backend().describe(spec.id).event.started_at} == {first}


def test_a_suspension_before_the_first_pod(harness: Harness, cluster: Cluster) -> None:
    """Kueue's webhook suspends a Job before its controller sees it; what changes its mind at once loses nothing."""
    spec = harness.quiet("print('ran', flush=True)")
    plan = harness.backend.plan(spec)
    plan.requests[-1].body["spec"]["suspend"] = True
    harness.backend.submit(plan)
    flicker(cluster, spec.id)
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    assert harness.lines(spec.id)[-1] == "ran"


def test_a_suspension_before_the_start(new_harness: NewHarness, cluster: Cluster) -> None:
    """A queue may take its place away while an image is pulled: the kubelet then tells 137 of what never ran."""
    harness = new_harness(starting="1h")
    spec = harness.spec("print('ran')", image="example.com/slow:1")
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: "ImagePullBackOff" in state.message)
    cluster.suspend(spec.id, wish=True)
    harness.watcher.until(300, spec.id, lambda state: "queue" in state.message)
    wait_until(lambda: not cluster.pods(spec.id))
    cluster.node.images["example.com/slow:1"] = cluster.node.images[spec_image(harness)]
    cluster.suspend(spec.id, wish=False)
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED


def spec_image(harness: Harness) -> str:
    return str(harness.defaults["image"])


def test_a_stop_while_its_queue_holds_it_back(harness: Harness, cluster: Cluster) -> None:
    """A stopped job must not run for a moment when its queue lets it go later; whoever reads its log is not kept."""
    spec = harness.quiet("print('ran', flush=True)")
    plan = harness.backend.plan(spec)
    plan.requests[-1].body["spec"]["suspend"] = True
    harness.backend.submit(plan)
    harness.watcher.until(300, spec.id, lambda state: "queue" in state.message)
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED
    assert harness.lines(spec.id, follow=True) == []
    cluster.suspend(spec.id, wish=False)
    wait_until(lambda: any(entry["type"] == "Failed" for entry in cluster.job(spec.id)["status"]["conditions"]))
    assert cluster.kubelet.started(spec.id) == 0
    assert harness.backend.describe(spec.id).event.status is JobStatus.STOPPED


def test_a_suspension_when_some_nodes_have_ended(harness: Harness, cluster: Cluster) -> None:
    """A node that comes back would meet nobody, and hold its place for a quarter of an hour for want of nodes."""
    code = """
        import os, time
        print("up", flush=True)
        time.sleep(0 if os.environ["LYFTLEARN_NODE_RANK"] == "1" else 600)
    """
    spec = harness.quiet(code, nodes=2, timeout=timedelta(hours=1))
    harness.submit(spec)
    wait_until(lambda: {pod["status"]["phase"] for pod in cluster.pods(spec.id)} == {"Running", "Succeeded"})
    cluster.suspend(spec.id, wish=True)
    state = harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.PENDING)
    assert state.message == "held back by its queue"
    wait_until(lambda: len(cluster.pods(spec.id)) == 1)
    (ended,) = cluster.pods(spec.id)
    later = moment(ended["metadata"]["creationTimestamp"]) + timedelta(seconds=1)  # which is as exact as clusters are
    wait_until(lambda: datetime.now(UTC) > later)
    cluster.suspend(spec.id, wish=False)
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)
    assert "had ended" in state.message


def test_what_would_fail_again_is_not_replaced(harness: Harness, cluster: Cluster) -> None:
    """Kubernetes cannot tell these ends from its own; whoever watches ends the job before the next pod is made."""
    evicted = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    signalled = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    for spec in (evicted, signalled):
        harness.submit(spec)
        harness.until_line(spec.id, "up")
    cluster.evict(cluster.pods(evicted.id)[0])
    cluster.kubelet.terminate(cluster.pods(signalled.id)[0])
    ends = [harness.wait(spec.id) for spec in (evicted, signalled)]
    assert [(state.status, state.reason) for state in ends] == [
        (JobStatus.FAILED, FailureReason.CONFIGURATION),
        (JobStatus.FAILED, FailureReason.USER_ERROR),
    ]
    assert "more disk" in ends[0].message
    assert "SIGTERM to process 1" in ends[1].message


@pytest.mark.parametrize("code", [137, 143])
def test_a_command_that_ends_with_a_code_of_the_platforms(harness: Harness, cluster: Cluster, code: int) -> None:
    """Its own end is final, whatever its code: a second run is what `retries` are for."""
    spec = harness.quiet(f"print('ran', flush=True); raise SystemExit({code})")
    state = harness.run(spec)
    assert (state.status, state.reason, state.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, code)
    assert harness.lines(spec.id) == ["ran"]


def test_a_pod_that_goes_with_the_end_of_its_job(
    new_harness: NewHarness, cluster: Cluster, new_backend: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspension releases the pod of a command that has just failed: whoever looks later finds the Job alone."""
    monkeypatch.setattr(manifests, "REPORT_SECONDS", 3)
    deaf = {"name": "deaf", "image": IMAGE, "command": ["sh", "-c", "trap '' TERM; sleep 3600"]}
    harness = new_harness(sidecars=[deaf])
    spec = harness.quiet("raise SystemExit(37)", grace=timedelta(seconds=1))
    harness.submit(spec)
    harness.watcher.until(60, spec.id, lambda state: "waits for its sidecars" in state.message)
    cluster.suspend(spec.id, wish=True)
    harness.wait(spec.id)
    for pod in cluster.pods(spec.id):  # on a busy machine it may have ended before the suspension
        with suppress(ApiError):
            cluster.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    wait_until(lambda: not cluster.pods(spec.id))
    listed = next(record for record in new_backend().list(JobQuery()) if record.id == spec.id)
    for end in (harness.wait(spec.id), new_backend().describe(spec.id).event, listed.event):
        assert (end.status, end.reason, end.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 37)
