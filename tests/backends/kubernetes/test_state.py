"""How jobs end that do not simply run: images, Secrets, places, nodes, quotas, and other people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.errors import JobNotFound
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.submission import manifests
from tests.doubles.cluster.cluster import NAMESPACE, NO_PYTHON, Cluster
from tests.doubles.cluster.store import ApiError, Object, wait_until

NewHarness = Callable[..., Harness]


def end_of(harness: Harness, **changes: Any) -> tuple[JobStatus, FailureReason | None, str]:
    state = harness.run(harness.spec("print('ran')", **changes))
    return state.status, state.reason, state.message


def test_an_image_that_cannot_be_pulled(harness: Harness) -> None:
    """A mistyped tag waits for ever on Kubernetes, and nobody is told."""
    status, reason, message = end_of(harness, image="example.com/typo:1")
    assert (status, reason) == (JobStatus.FAILED, FailureReason.IMAGE)
    assert "example.com/typo:1" in message


def test_an_image_without_python(harness: Harness) -> None:
    """The runtime needs Python, and who built the image must read that and not an exit code."""
    status, reason, message = end_of(harness, image=NO_PYTHON)
    assert (status, reason) == (JobStatus.FAILED, FailureReason.IMAGE)
    assert "Python 3.8" in message


def test_a_missing_secret(harness: Harness) -> None:
    """Its name is what one needs to know."""
    status, reason, message = end_of(harness, secrets=("no-such-secret",))
    assert (status, reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert message == "secrets: no-such-secret: there is no such secret"


def test_a_secret_is_in_variables_and_files(harness: Harness, cluster: Cluster) -> None:
    """Both are how programs of today find them; a key that is no variable's name is a file only."""
    cluster.create_secret("db-password", {"DB_USER": "eta", "1st.password": "s3cr3t"})
    code = """
        import os, pathlib
        folder = pathlib.Path(os.environ["LYFTLEARN_SECRETS_DIR"], "db-password")
        print(os.environ["DB_USER"], sorted(path.name for path in folder.iterdir()))
    """
    spec = harness.spec(code, secrets=("db-password",))
    assert harness.output_lines(spec) == ["eta ['1st.password', 'DB_USER']"]
    assert "s3cr3t" not in str(harness.backend.plan(spec))


def test_pending_says_why(harness: Harness, cluster: Cluster) -> None:
    """Whoever waits for a GPU wants to read the scheduler's own words."""
    backend = harness.backend
    assert isinstance(backend, KubernetesBackend)
    spec = harness.spec()
    plan = backend.plan(spec)
    plan.requests[-1].body["spec"]["template"]["spec"]["nodeSelector"] = {"pool": "none"}
    backend.submit(plan)
    state = harness.watcher.until(300, spec.id, lambda state: "node(s)" in state.message)
    assert state.status is JobStatus.PENDING
    backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_no_place_within_the_limit(new_harness: NewHarness) -> None:
    """A job that can never be placed must end, and say that capacity is what it lacks."""
    harness = new_harness(node_selector={"pool": "none"}, pending="2s")
    status, reason, message = end_of(harness)
    assert (status, reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert "node affinity" in message


def test_a_lost_node_is_made_good(harness: Harness, cluster: Cluster) -> None:
    """The pod died through nobody's fault; the job goes on, as attempt 1, and its log has both runs."""
    code = "import time, os; print('up', flush=True); time.sleep(0 if os.path.exists(os.environ['FLAG']) else 600)"
    flag = f"{harness.storage_url.removeprefix('file://')}/second-run"
    spec = harness.spec(code, env={"FLAG": flag})
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    harness.put({"x": b""})
    Path(flag).touch()
    cluster.lose_node_of(cluster.pods(spec.id)[0])
    state = harness.wait(spec.id)
    assert (state.status, state.attempt) == (JobStatus.SUCCEEDED, 1)
    assert max(event.incarnation for event in harness.watcher.events) == 1
    assert harness.lines(spec.id) == ["up", "up"]


def test_nodes_are_lost_too_often(new_harness: NewHarness, cluster: Cluster) -> None:
    """A job that no node keeps is given up, as preempted and not as a failure of its command."""
    harness = new_harness(restarts=0)
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    cluster.lose_node_of(cluster.pods(spec.id)[0])
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)
    assert "Taint manager" in state.message


def test_one_of_several_nodes_is_lost(harness: Harness, cluster: Cluster) -> None:
    """The others cannot take in a stranger, and waiting for the lost one would last for ever."""
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)", nodes=2)
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    wait_until(lambda: sum(pod["status"]["phase"] == "Running" for pod in cluster.pods(spec.id)) == 2)
    cluster.lose_node_of(cluster.pods(spec.id)[1])
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)


def test_a_job_that_is_deleted_while_it_is_followed(harness: Harness, cluster: Cluster) -> None:
    """`kubectl delete job` must not leave anybody waiting for ever."""
    spec = harness.spec("import time; time.sleep(600)")
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    cluster.store.delete("jobs", NAMESPACE, spec.id)
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert "deleted" in state.message


def test_a_job_that_is_deleted_before_it_is_followed(harness: Harness, cluster: Cluster) -> None:
    """Nobody saw it end or go, so nobody can say that it failed: it is not there, as a question about it says."""
    spec = harness.spec("import time; time.sleep(600)")
    harness.submit(spec)
    cluster.store.delete("jobs", NAMESPACE, spec.id)
    with pytest.raises(JobNotFound):
        harness.wait(spec.id)
    with pytest.raises(JobNotFound):
        harness.backend.describe(spec.id)


def test_pods_are_deleted_too_often(new_harness: NewHarness, cluster: Cluster) -> None:
    """They exit as stopped ones do, but nobody asked for a stop: the job is not STOPPED when no pod is left to make."""
    harness = new_harness(restarts=0)
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    (pod,) = cluster.pods(spec.id)
    cluster.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert "a pod of the job was deleted" in state.message


def test_a_sidecar_never_fails_the_job(new_harness: NewHarness) -> None:
    """A metrics agent that crashes, or never ends, used to decide how a training ended."""
    image = new_harness().defaults["image"]
    crashing = {"name": "crashing", "image": image, "command": ["sh", "-c", "exit 1"]}
    lasting = {"name": "lasting", "image": image, "command": ["sh", "-c", "trap 'exit 1' TERM; sleep 3600 & wait"]}
    harness = new_harness(sidecars=[crashing, lasting])
    assert end_of(harness)[0] is JobStatus.SUCCEEDED


def test_a_sidecar_that_ignores_sigterm(new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a job for the grace of its pod, and no longer; meanwhile the job says what it waits for."""
    monkeypatch.setattr(manifests, "REPORT_SECONDS", 3)
    image = new_harness().defaults["image"]
    deaf = {"name": "deaf", "image": image, "command": ["sh", "-c", "trap '' TERM; sleep 3600"]}
    harness = new_harness(sidecars=[deaf])
    spec = harness.spec(grace=timedelta(seconds=1))
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: "waits for its sidecars" in state.message)
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED


def test_the_cluster_forbids_pods(harness: Harness, cluster: Cluster) -> None:
    """The Job is accepted and its pods are not: only Events tell, and a quota is a lack of capacity."""
    refusal = "exceeded quota: compute, requested: memory=512Mi, used: memory=0, limited: memory=1Mi"

    def quota(verb: str, kind: str, item: Object) -> None:
        if kind == "pods" and item["metadata"]["labels"]["lyftlearn/name"] == "too-big":
            raise ApiError(403, "Forbidden", f'pods "x" is forbidden: {refusal}')

    cluster.api.admission.append(quota)
    status, reason, message = end_of(harness, name="too-big")
    assert (status, reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert "exceeded quota: compute" in message


def test_the_backstop_is_a_timeout(harness: Harness) -> None:
    """Where the runtime could not keep the time, the cluster does, and it is no stop."""
    spec = harness.spec("import time; time.sleep(600)")
    plan = harness.backend.plan(spec)
    plan.requests[-1].body["spec"]["activeDeadlineSeconds"] = 2
    harness.backend.submit(plan)
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.TIMEOUT)


def test_a_job_that_its_queue_holds_back(harness: Harness, cluster: Cluster) -> None:
    """Queueing suspends Jobs; a stop must end one that has not even begun."""
    spec = harness.spec()
    plan = harness.backend.plan(spec)
    plan.requests[-1].body["spec"]["suspend"] = True
    harness.backend.submit(plan)
    state = harness.watcher.until(300, spec.id, lambda state: "queue" in state.message)
    assert state.status is JobStatus.PENDING
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_a_finished_job_goes_after_its_time(new_harness: NewHarness, cluster: Cluster) -> None:
    """`keep` is what the retention of the capabilities promises."""
    harness = new_harness(keep="2s")
    assert harness.backend.capabilities().retention == timedelta(seconds=2)
    spec = harness.succeed(harness.spec())
    wait_until(lambda: cluster.store.find("jobs", NAMESPACE, spec.id) is None)
    late = new_harness()
    late.submit(late.spec())
    with pytest.raises(JobNotFound):
        late.wait(spec.id)
    with pytest.raises(JobNotFound):
        harness.backend.describe(spec.id)


def test_a_pull_is_a_phase_of_its_own(cluster: Cluster, harness: Harness) -> None:
    """A slow start is an image that was pulled, or it is not; an image that was there took no time."""
    image = "registry.example/never-pulled:1"  # its own: pods of other tests may still start
    cluster.node.images[image] = next(iter(cluster.node.images.values()))
    names = [
        [str(phase.name) for phase in harness.backend.timings(harness.succeed(harness.spec(image=image)).id).phases]
        for _ in range(2)
    ]
    assert names[0] == ["waiting", "pulling", "starting", "fetching", "running", "uploading"]
    assert names[1] == ["waiting", "starting", "fetching", "running", "uploading"]
