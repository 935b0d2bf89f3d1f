"""What passes: servers that start, outages, queues. Nobody who follows a job may take any of it for an end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn._jobs.kept_lines import find_kept_log
from lyftlearn._jobs.watcher import SharedWatch
from lyftlearn.backend import BackendSettings, JobQuery, LogLine, LogQuery, kept_logs, open_storage
from lyftlearn.errors import AccessDenied, BackendUnavailable, JobNotFound, LyftLearnError
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api import patience
from lyftlearn_kubernetes.api.patience import Patience
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.status import events, jobs, observed
from tests.doubles.cluster.access import Access, Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.disturbances import ANSWERS, Disturbance, refusal
from tests.doubles.cluster.store import wait_until

NewHarness = Callable[..., Harness]
TOKEN = "documented"
OWNER = "app.kubernetes.io/managed-by"
# As k8s.io/apimachinery's NewGenericServerResponse words what a kubelet answers; its own text is left out.
KUBELET = {
    "401": refusal(
        401, "Unauthorized", "the server has asked for the client to provide credentials ( pods/log x)", "x"
    ),
    "403": refusal(403, "Forbidden", "unknown ( pods/log x)", "x"),
}
SLOW = "import time; print('up', flush=True); time.sleep(4); print('down')"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose Roles can be unknown for a while."""
    rules = [{"apiGroups": ["", "batch"], "resources": RESOURCES, "verbs": VERBS}]
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), Access({TOKEN: Caller("ci", rules)}))
    yield cluster
    cluster.close()


RESOURCES = ["jobs", "pods", "pods/log", "configmaps", "services", "events"]
VERBS = ["create", "get", "list", "watch", "patch"]


@pytest.fixture(autouse=True)
def calm_again(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.api.disturbances.clear()
    cluster.kubelet.node.runs = True


@pytest.fixture
def table(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    return {"kubeconfig": str(cluster.kubeconfig(TOKEN)), "volumes": [volume]}


def restart(cluster: Cluster, seconds: float) -> threading.Thread:
    """Restart the server, which does not know its Roles for a while."""
    cluster.api.stop()
    cluster.api.access.synced = False
    cluster.api.start()

    def sync() -> None:
        time.sleep(seconds)
        cluster.api.access.synced = True

    thread = threading.Thread(target=sync)
    thread.start()
    return thread


def test_a_server_that_does_not_know_its_roles_yet(harness: Harness, cluster: Cluster) -> None:
    """Real ones say 403 for seconds after a start: waits, logs and submissions go on."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    lines = harness.backend.logs(spec.id, LogQuery(follow=True))
    assert next(lines).text == "up"
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    syncing = restart(cluster, 2)
    harness.submit(harness.spec())
    assert [line.text for line in lines] == ["down"]
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    syncing.join()


def test_a_login_that_is_refused_for_a_moment(harness: Harness, cluster: Cluster) -> None:
    """What served to read serves to write, too: a 401 to the first submission of a process passes."""
    list(harness.backend.list(JobQuery()))
    cluster.api.disturbances.append(Disturbance("create", "", 2, status=ANSWERS["401"][0], body=ANSWERS["401"][1]))
    harness.submit(harness.quiet("pass"))


def test_logs_through_an_outage(harness: Harness, cluster: Cluster) -> None:
    """An upgrade of the control plane takes seconds to minutes; the job goes on meanwhile, and so does its log."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    lines = harness.backend.logs(spec.id, LogQuery(follow=True))
    assert next(lines).text == "up"
    cluster.api.stop()
    time.sleep(5)
    cluster.api.start()
    assert [line.text for line in lines] == ["down"]


@pytest.mark.parametrize("reason", ["401", "403"])
def test_a_kubelet_that_does_not_know_the_server(harness: Harness, cluster: Cluster, reason: str) -> None:
    """While certificates are renewed a node refuses logs to its own API server, which passes that on."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    lines = harness.backend.logs(spec.id, LogQuery(follow=True))
    assert next(lines).text == "up"
    said = KUBELET[reason]
    cluster.api.disturbances.append(Disturbance("get", "pods/log", 4, status=int(reason), body=said))
    assert harness.lines(spec.id)[0] == "up"
    cluster.api.disturbances.append(Disturbance("get", "pods/log", 4, status=int(reason), body=said))
    assert [line.text for line in lines] == ["down"]


def test_a_proxy_that_refuses_to_read(harness: Harness, cluster: Cluster) -> None:
    """No admission looks at a read: whatever a 403 of the API's own body says there, it is a permission, and passes."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    body = refusal(403, "Forbidden", "access denied to the cluster: the session is being renewed")
    for verb, kind in (("get", "jobs"), ("list", "pods"), ("list", "jobs"), ("watch", "jobs"), ("watch", "pods")):
        cluster.api.disturbances.append(Disturbance(verb, kind, 3, status=403, body=body))
    assert harness.backend.describe(spec.id).event.status is JobStatus.RUNNING
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("refused", ["401", "403-webhook", "422", "409-conflict"])
def test_a_stop_whose_repetition_is_refused(harness: Harness, cluster: Cluster, refused: str) -> None:
    """The first patch has stopped the job, though its answer was lost: what is said to the second changes nothing."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    status, body = ANSWERS[refused]
    cluster.api.disturbances.append(Disturbance("patch", "jobs", 1, commit=True))
    cluster.api.disturbances.append(Disturbance("patch", "jobs", 30, status=status, body=body))
    harness.backend.stop(spec.id)
    cluster.api.disturbances.clear()
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_a_stop_that_meets_others_changes(harness: Harness, cluster: Cluster) -> None:
    """A server that has tried a patch five times beside other changes gives up with a conflict; one more try passes."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    status, body = ANSWERS["409-conflict"]
    cluster.api.disturbances.append(Disturbance("patch", "jobs", 2, status=status, body=body))
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_a_stop_of_a_job_that_goes(harness: Harness, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time was over between the look and the patch: it is not there, and that is what is told."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    patch = harness.backend._cluster.patch  # type: ignore[attr-defined]

    def late(*arguments: Any) -> Any:
        cluster.store.delete("jobs", NAMESPACE, spec.id)
        return patch(*arguments)

    monkeypatch.setattr(harness.backend._cluster, "patch", late)  # type: ignore[attr-defined]
    with pytest.raises(JobNotFound):
        harness.backend.stop(spec.id)


def test_following_begins_in_an_outage(harness: Harness, cluster: Cluster) -> None:
    """Who has a handle on a job may follow it at a bad moment, too."""
    spec = harness.succeed(harness.quiet("print('up')"))
    cluster.api.disturbances.append(Disturbance("", "", 8))
    assert [line.text for line in harness.backend.logs(spec.id, LogQuery(follow=True))] == ["up"]


@pytest.mark.parametrize("name", ["404-text", "404-resource", "403-text", "200-text", "502-text"])
def test_an_answer_of_somebody_else_ends_no_job(harness: Harness, cluster: Cluster, name: str) -> None:
    """A load balancer's 404 says nothing about a job that runs; it does not even come from the API."""
    spec = harness.quiet(SLOW)
    harness.submit(spec)
    status, body = ANSWERS[name]
    cluster.api.disturbances += [Disturbance("get", "jobs", 3, status=status, body=body)]
    cluster.api.disturbances += [Disturbance("list", "pods", 2, status=status, body=body)]
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED


def test_patience_has_an_end() -> None:
    """A permission that stays away is missing, and who waits must hear that; an outage may last for minutes."""
    now = [0.0]
    kept = Patience(lambda: now[0])
    denied, away = AccessDenied("no"), BackendUnavailable("away")
    assert kept.pause_after(denied) is not None
    now[0] += patience.DENIED_SECONDS - 1
    assert kept.pause_after(denied) is not None
    assert kept.pause_after(away) is not None
    now[0] += 2
    assert kept.pause_after(denied) is not None, "something else came in between"
    now[0] += patience.DENIED_SECONDS + 1
    assert kept.pause_after(denied) is None
    kept.reset()
    assert kept.pause_after(away) is not None
    now[0] += patience.OUTAGE_SECONDS + 1
    assert kept.pause_after(away) is None
    assert kept.pause_after(ValueError("a fault of ours")) is None


def test_limits_are_the_jobs_own(new_harness: NewHarness, tmp_path: Path) -> None:
    """A colleague with `pending = "1s"` looks at a job that may wait for a day: it goes on waiting."""
    owner = new_harness(node_selector={"pool": "none"}, pending="24h", starting="10m")
    spec = owner.spec()
    owner.submit(spec)
    owner.watcher.until(300, spec.id, lambda state: "node(s)" in state.message)
    time.sleep(2)
    colleague = new_harness(pending="1s", starting="1s")
    assert colleague.backend.describe(spec.id).event.status is JobStatus.PENDING
    owner.backend.stop(spec.id)


def test_the_clock_is_the_servers(new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop whose clock is a day ahead ends nobody's job."""
    harness = new_harness(node_selector={"pool": "none"}, pending="1h")
    spec = harness.spec()
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: "node(s)" in state.message)
    record = harness.backend.describe(spec.id)
    now = harness.backend._cluster.now()  # type: ignore[attr-defined]
    assert abs(now - (record.event.created_at or now)) < timedelta(minutes=5)
    from lyftlearn_kubernetes.api import cluster as requests

    class Ahead:
        @staticmethod
        def now(zone: Any) -> Any:
            from datetime import datetime

            return datetime.now(zone) + timedelta(days=1)

    monkeypatch.setattr(requests, "datetime", Ahead)
    assert harness.backend.describe(spec.id).event.status is JobStatus.PENDING
    harness.backend.stop(spec.id)


def set_quota(cluster: Cluster, hard: dict[str, str]) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"}, "spec": {"hard": hard}}
    cluster.store.create("resourcequotas", NAMESPACE, quota)


def test_a_quota_that_is_full_is_a_queue(new_harness: NewHarness, cluster: Cluster, tmp_path: Path) -> None:
    """That is how jobs queue in such a namespace: the second says what it waits for, and runs after the first."""
    harness = new_harness(starting="1s")
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.1)"
    first, second = harness.spec(code), harness.spec()
    set_quota(cluster, {"pods": "1"})
    try:
        harness.submit(first)
        wait_until(lambda: bool(cluster.pods(first.id)))
        harness.submit(second)
        state = harness.watcher.until(120, second.id, lambda state: "exceeded quota: compute" in state.message)
        assert (state.status, state.message.partition(": ")[0]) == (JobStatus.PENDING, "waiting for its pods")
        assert "exceeded quota: compute" in harness.backend.describe(second.id).event.message
        go.touch()
        assert harness.wait(second.id).status is JobStatus.SUCCEEDED
    finally:
        cluster.store.delete("resourcequotas", NAMESPACE, "compute")


def test_a_quota_that_nobody_has_counted_yet(new_harness: NewHarness, cluster: Cluster) -> None:
    """The API server refuses pods until the quota's status is written, which is not what a job is to be ended for."""
    harness = new_harness(starting="1s")
    spec = harness.spec()
    set_quota(cluster, {"pods": "9"})
    try:
        cluster.store.modify("resourcequotas", NAMESPACE, "compute", lambda one: one.update(status={"hard": {}}))
        harness.submit(spec)
        state = harness.watcher.until(120, spec.id, lambda state: "status unknown" in state.message)
        assert state.status is JobStatus.PENDING
        cluster.store.modify("resourcequotas", NAMESPACE, "compute", lambda one: one.pop("status"))
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    finally:
        cluster.store.delete("resourcequotas", NAMESPACE, "compute")


def test_what_exceeds_a_quota_is_hopeless(new_harness: NewHarness, cluster: Cluster) -> None:
    """No end of another job will make room for it."""
    harness = new_harness(starting="1s")
    set_quota(cluster, {"requests.memory": "1Mi"})
    try:
        state = harness.run(harness.spec())
    finally:
        cluster.store.delete("resourcequotas", NAMESPACE, "compute")
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert "exceeded quota: compute" in state.message


def test_too_much_disk(harness: Harness, cluster: Cluster) -> None:
    """The kubelet says which limit; who reads it must learn which argument to raise."""
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    (pod,) = cluster.pods(spec.id)
    cluster.evict(pod)
    state = harness.wait(spec.id)
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert "resources.disk" in state.message
    assert 'EmptyDir volume "work"' in state.message
    assert harness.lines(spec.id) == ["up"], "the node has collected the log, and the storage kept it"
    assert harness.lines(spec.id, follow=True) == ["up"]


def test_a_command_that_signals_process_1(harness: Harness) -> None:
    """Nobody deleted anything: it was the command itself."""
    state = harness.run(harness.spec("import os, time; os.kill(1, 15); time.sleep(60)"))
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.USER_ERROR)
    assert "process 1" in state.message


@pytest.mark.parametrize("text", ["{not json", '{"pending": NaN, "starting": Infinity}'])
def test_a_broken_annotation_breaks_only_itself(harness: Harness, cluster: Cluster, text: str) -> None:
    """Anybody with `kubectl annotate` can write there; the jobs of others go on, and are listed."""
    broken, other = harness.quiet(SLOW), harness.quiet(SLOW)
    for spec in (broken, other):
        harness.submit(spec)
        harness.watcher.following.add(spec.id)

    def scribble(item: dict[str, Any]) -> None:
        names = ("verdict", "stop", "labels", "outputs", "limits")
        item["metadata"]["annotations"].update({f"lyftlearn/{name}": text for name in names[:1] + names[2:]})

    cluster.store.modify("jobs", NAMESPACE, broken.id, scribble)
    stray = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "stray",
            "labels": {"app.kubernetes.io/managed-by": "lyftlearn", "lyftlearn/job": "stray"},
        },
        "spec": {"suspend": True},
        "status": {"completionTime": "yesterday"},
    }
    cluster.store.create("jobs", NAMESPACE, stray)
    from lyftlearn.backend import JobQuery

    listed = {record.id for record in harness.backend.list(JobQuery())}
    assert {broken.id, other.id} <= listed
    assert harness.wait(other.id).status is JobStatus.SUCCEEDED
    assert harness.wait(broken.id).status is JobStatus.SUCCEEDED
    cluster.store.delete("jobs", NAMESPACE, "stray")


@pytest.mark.parametrize("name", ["started", "limits", "stop", "verdict", "labels", "outputs", "decision", "digest"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "1", "NaN", '"x"', "[" * 100_000, '{"pending": NaN, "starting": 1}', "\x00"),
        *('{"pending": 1e999, "starting": 1}', '{"pending": 8e13, "starting": -8e13}', '{"reason": ["x"]}'),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2020-W01-1", '{"pending": [1]}'),
    ],
    ids=lambda text: text[:12],
)
def test_whatever_an_annotation_says_a_job_can_be_read(name: str, text: str) -> None:
    """One that cannot is a job that nobody can list or wait for, nor those beside it."""
    marks = {labels.JOB: "eta-tkabcdefghij2", labels.KIND: "train", labels.NAME: "eta"}
    metadata = {"name": "eta-tkabcdefghij2", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": marks}
    document = {"metadata": {**metadata, "annotations": {f"lyftlearn/{name}": text}}}
    job = observed.job(document)
    assert jobs.record(document, events.event(job, [], job.created_at)).id == job.id


def test_a_job_that_cannot_be_read_is_an_error_of_its_own(harness: Harness, cluster: Cluster) -> None:
    """Somebody wrote what no Job has: whoever asks for it is told, and a wait for others goes on."""
    broken, other = harness.quiet("pass"), harness.quiet("pass")
    for spec in (broken, other):
        harness.submit(spec)
    cluster.store.modify("jobs", NAMESPACE, broken.id, lambda item: item["metadata"].update(generation="many"))
    for ask in (harness.backend.describe, harness.backend.stop, harness.backend.timings):
        with pytest.raises(LyftLearnError, match="cannot be read"):
            ask(broken.id)
    harness.watcher.following.add(broken.id)
    assert harness.wait(other.id).status is JobStatus.SUCCEEDED


def test_an_ending_that_meets_nobody(new_harness: NewHarness, cluster: Cluster) -> None:
    """The patch that ends a job comes too late for one that was deleted; the waits for others go on."""
    harness = new_harness(pending="1s", starting="1s")
    other = harness.quiet(SLOW)
    harness.submit(other)
    harness.watcher.until(300, other.id, lambda state: state.status is JobStatus.RUNNING)
    body = ANSWERS["404-resource"][1]
    cluster.api.disturbances.append(Disturbance("patch", "jobs", status=404, body=body))
    late = harness.spec(image="example.com/typo:1")
    harness.submit(late)
    harness.watcher.following.add(late.id)
    assert harness.wait(other.id).status is JobStatus.SUCCEEDED
    cluster.api.disturbances.clear()
    harness.backend.stop(late.id)


FORK = """
import json, os, sys
from pathlib import Path
from lyftlearn.backend import BackendSettings
from lyftlearn_kubernetes.backend import KubernetesBackend

table = json.loads(sys.argv[1])
backend = KubernetesBackend(BackendSettings(name="kubernetes", table=table, home=Path(sys.argv[2]), storage_url="s3://b/p"))
names = sys.argv[3:]
for name in names:
    backend.outputs(name)
children = []
for name in names:
    child = os.fork()
    if not child:
        wrong = sum(backend._cluster.get("jobs", name)["metadata"]["name"] != name for _ in range(40))
        os._exit(wrong)
    children.append(child)
wrong = sum(backend._cluster.get("jobs", names[0])["metadata"]["name"] != names[0] for _ in range(40))
sys.exit(wrong + sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_a_fork_shares_no_connection(harness: Harness, table: dict[str, Any], tmp_path: Path) -> None:
    """Parent and children that talk over one socket read each other's answers."""
    specs = [harness.spec() for _ in range(4)]
    for spec in specs:
        harness.submit(spec)
    command = [sys.executable, "-c", FORK, json.dumps(table), str(tmp_path), *(spec.id for spec in specs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr


def test_a_rotated_log_is_read_from_the_storage(harness: Harness, cluster: Cluster) -> None:
    """A node has the newest file of a log, of 10 MiB or so; the rest was kept, and the longer source wins."""
    before, cluster.kubelet.node.log_rotated_at = cluster.kubelet.node.log_rotated_at, 4000
    try:
        spec = harness.succeed(harness.quiet("for number in range(300): print('line', number)"))
        wanted = [f"line {number}" for number in range(300)]
        assert harness.lines(spec.id) == wanted
        assert harness.lines(spec.id, follow=True) == wanted
        assert harness.lines(spec.id, tail=3) == wanted[-3:]
    finally:
        cluster.kubelet.node.log_rotated_at = before


def kept_lines(harness: Harness, job_id: str, **query: Any) -> list[LogLine]:
    storage = open_storage(harness.storage_url)
    found = find_kept_log(SharedWatch(harness.backend, lambda: storage), job_id, LogQuery(**query))
    return list(found.lines) if found else []


def test_the_log_of_a_job_that_is_gone(harness: Harness, cluster: Cluster) -> None:
    """A Job that its ttl removed took its pods along; what they printed is in the storage, node by node."""
    spec = harness.succeed(harness.quiet("for number in range(3): print('line', number)", nodes=2))
    cluster.store.delete("jobs", NAMESPACE, spec.id)
    with pytest.raises(JobNotFound):
        harness.lines(spec.id)
    kept = kept_lines(harness, spec.id)
    assert [[line.text for line in kept if line.node == node] for node in range(2)] == [
        [f"line {number}" for number in range(3)]
    ] * 2
    assert [line.text for line in kept_lines(harness, spec.id, node=1, tail=1)] == ["line 2"]
    assert kept_lines(harness, "eta-tkaaaaaaaaaaa") == []


def test_a_kept_log_that_is_too_large_is_named(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may write to the storage must not fill the memory of those who read logs; what the pod has is given."""
    spec = harness.succeed(harness.quiet("for number in range(300): print('line', number)"))
    monkeypatch.setattr(kept_logs, "_LARGEST", 1000)
    assert harness.lines(spec.id) == [f"line {number}" for number in range(300)]
    assert re.search(r"/0-0\.log has \d+ bytes, and nothing of more than 1000 is read", caplog.text)


def test_the_log_of_a_pod_that_was_replaced(harness: Harness, cluster: Cluster) -> None:
    """A drained node's pod is deleted with its log; what it printed is a part of the job's log all the same."""
    code = """
        import os, pathlib, signal, sys, time
        flag = pathlib.Path(os.environ["FLAG"])
        again = flag.exists()
        flag.touch()
        print("second" if again else "first", flush=True)
        time.sleep(0 if again else 600)
    """
    flag = f"{harness.storage_url.removeprefix('file://')}/flag"
    harness.put({"x": b""})
    spec = harness.spec(code, env={"FLAG": flag})
    harness.submit(spec)
    harness.until_line(spec.id, "first")
    (pod,) = cluster.pods(spec.id)
    cluster.drain(pod)
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    wait_until(lambda: len(cluster.pods(spec.id)) == 1)
    assert harness.lines(spec.id) == ["first", "second"]
    assert harness.lines(spec.id, follow=True) == ["first", "second"]


def test_following_the_tail_of_a_job_that_waits(harness: Harness, cluster: Cluster) -> None:
    """The last lines of a job that has not begun are none; all that come later are new."""
    cluster.kubelet.node.runs = False
    spec = harness.quiet("for number in range(101): print(number)")
    harness.submit(spec)
    lines = harness.backend.logs(spec.id, LogQuery(follow=True, tail=5))
    threading.Timer(1, lambda: setattr(cluster.kubelet.node, "runs", True)).start()
    assert [line.text for line in lines] == [str(number) for number in range(101)]


def test_checkpoints_outlive_a_pod(harness: Harness, cluster: Cluster) -> None:
    """A training whose node is drained goes on where it was, and not from nothing."""
    code = """
        import os, pathlib, time
        kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "epoch")
        print("from", kept.read_text() if kept.exists() else "nothing", flush=True)
        if not kept.exists():
            kept.write_text("7")
            print("up", flush=True)
            time.sleep(600)
    """
    spec = harness.spec(code)
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    cluster.drain(cluster.pods(spec.id)[0])
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    assert "from 7" in harness.lines(spec.id)


def test_a_secret_whose_key_is_path(harness: Harness, cluster: Cluster) -> None:
    """Secrets may hold any key; none may reach what starts the runtime."""
    cluster.create_secret("odd", {"PATH": "/nowhere", "LD_PRELOAD": "/nowhere.so"})
    spec = harness.spec("", secrets=("odd",))
    spec = replace(spec, command=("/bin/sh", "-c", "echo $PATH"))
    assert "/nowhere" in harness.output_lines(spec)


def test_a_node_that_does_not_answer(harness: Harness, cluster: Cluster) -> None:
    """Kubernetes keeps its pods "running" until somebody deletes the Node; whoever waits must know that."""
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    (pod,) = cluster.pods(spec.id)

    def mark(item: dict[str, Any]) -> None:
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    runner = cluster.kubelet.runner(pod)
    assert runner is not None
    runner.silence()
    cluster.store.modify("pods", NAMESPACE, pod["metadata"]["name"], mark)
    state = harness.watcher.until(300, spec.id, lambda state: "does not answer" in state.message)
    assert state.status is JobStatus.RUNNING
    assert "node n1" in state.message
    runner.kill()
    harness.backend.stop(spec.id)


def test_a_job_that_its_queue_preempts(harness: Harness, cluster: Cluster) -> None:
    """Kueue preempts by suspension: the job waits again, and then runs on as if it had only waited longer."""
    code = """
        import os, pathlib, time
        flag = pathlib.Path(os.environ["FLAG"])
        again = flag.exists()
        flag.touch()
        print("second" if again else "first", flush=True)
        time.sleep(0 if again else 600)
    """
    harness.put({"x": b""})
    spec = harness.spec(code, env={"FLAG": f"{harness.storage_url.removeprefix('file://')}/flag"})
    harness.submit(spec)
    harness.until_line(spec.id, "first")
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    suspend(cluster, spec.id, wish=True)
    state = harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.PENDING)
    assert "queue" in state.message
    assert harness.backend.describe(spec.id).event.status is JobStatus.PENDING
    wait_until(lambda: not cluster.pods(spec.id))
    suspend(cluster, spec.id, wish=False)
    state = harness.wait(spec.id)
    assert (state.status, state.attempt) == (JobStatus.SUCCEEDED, 1)
    assert harness.lines(spec.id) == ["first", "second"]


def suspend(cluster: Cluster, job_id: str, *, wish: bool) -> None:
    cluster.store.modify("jobs", NAMESPACE, job_id, lambda item: item["spec"].update(suspend=wish))


def test_a_job_that_is_removed_while_its_log_is_read(harness: Harness, cluster: Cluster) -> None:
    """What the pods had printed was kept, and comes before the error that says why there is no more."""
    code = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("down", flush=True), sys.exit(0)))
        print("up", flush=True)
        time.sleep(600)
    """
    spec = harness.spec(code)
    harness.submit(spec)
    seen = []
    with pytest.raises(JobNotFound):  # noqa: PT012 - read to its end
        for line in harness.backend.logs(spec.id, LogQuery(follow=True)):
            seen.append(line.text)
            if line.text == "up":
                cluster.store.delete("jobs", NAMESPACE, spec.id)
    assert seen in (["up", "down"], ["up"])


def test_settings(tmp_path: Path) -> None:
    """A limit travels as seconds, whatever the configuration says it in."""
    table = {"pending": "2h", "starting": "90s"}
    backend = KubernetesBackend(BackendSettings(name="kubernetes", table=table, home=tmp_path, storage_url="s3://b/p"))
    spec = Harness(backend, "s3://b/p", ("python3",), 60).spec("print()", image="i", name="eta", digest="d")
    annotations = backend.plan(spec).requests[-1].body["metadata"]["annotations"]
    assert json.loads(annotations["lyftlearn/limits"]) == {"pending": 7200.0, "starting": 90.0}
