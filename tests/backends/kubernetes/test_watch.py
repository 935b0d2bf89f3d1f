"""The one watch of a process, and what may happen to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lyftlearn.testing import Harness
from lyftlearn.types import JobStatus
from lyftlearn_kubernetes.api.errors import ApiError
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.submission import submitter
from tests.backends.kubernetes.proxy import Proxy
from tests.doubles.cluster import server
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.disturbances import Disturbance
from tests.doubles.cluster.watching import BOOKMARK_SECONDS

LONG = "import time; print('up', flush=True); time.sleep(4)"


def running(harness: Harness, code: str = LONG) -> str:
    spec = harness.spec(code)
    harness.submit(spec)
    harness.watcher.until(300, spec.id, lambda state: state.status is JobStatus.RUNNING)
    return spec.id


def test_history_that_is_gone(harness: Harness, cluster: Cluster) -> None:
    """A watch that fell behind is told 410, and must look at everything anew."""
    job_id = running(harness)
    cluster.api.stop()
    cluster.store.compact()
    cluster.api.start()
    assert harness.wait(job_id).status is JobStatus.SUCCEEDED


def test_a_server_that_is_restarted(harness: Harness, cluster: Cluster) -> None:
    """API servers are upgraded while jobs run, and what happened meanwhile must arrive."""
    job_id = running(harness)
    cluster.api.stop()
    time.sleep(6)
    cluster.api.start()
    assert harness.wait(job_id).status is JobStatus.SUCCEEDED


def test_a_connection_that_falls_silent(cluster: Cluster, new_harness: Callable[..., Harness]) -> None:
    """A load balancer that forgets a connection tells nobody; without a limit the wait would never end."""
    with Proxy(cluster.api.port) as proxy:
        harness = new_harness(kubeconfig=str(cluster.kubeconfig(url=proxy.url, name="silent")))
        assert isinstance(harness.backend, KubernetesBackend)
        harness.backend.silence = 3
        job_id = running(harness)
        proxy.freeze()
        assert harness.wait(job_id).status is JobStatus.SUCCEEDED


def test_one_watch_serves_many_jobs(harness: Harness, cluster: Cluster) -> None:
    """A call for each job and second is what servers throttle."""
    specs = [harness.spec() for _ in range(12)]
    running(harness)
    before = cluster.api.calls.copy()
    states = harness.run_all(specs)
    assert {state.status for state in states} == {JobStatus.SUCCEEDED}
    calls = cluster.api.calls - before
    assert calls["create jobs"] == len(specs)
    assert calls["get jobs"] == 0
    assert calls["watch jobs"] == calls["watch pods"] == 0
    assert calls["list pods"] + calls["list jobs"] <= 2, dict(calls)


def test_many_jobs_from_before_the_watch(harness: Harness, cluster: Cluster) -> None:
    """A process that comes later asks for all at once, and not for each."""
    specs = [harness.spec() for _ in range(25)]
    for spec in specs:
        harness.submit(spec)
    before = cluster.api.calls.copy()
    for spec in specs:
        harness.watcher.following.add(spec.id)
    assert {harness.wait(spec.id).status for spec in specs} == {JobStatus.SUCCEEDED}
    calls = cluster.api.calls - before
    assert calls["get jobs"] + calls["list pods"] + calls["list jobs"] < len(specs), dict(calls)


def test_what_all_share_is_sent_once(harness: Harness, cluster: Cluster) -> None:
    """Threads that begin together would each have the runtime on its way, and its copies in memory."""
    specs = [harness.spec() for _ in range(8)]
    before = cluster.api.calls.copy()
    with ThreadPoolExecutor(len(specs)) as pool:
        list(pool.map(harness.submit, specs))
    assert (cluster.api.calls - before)["create configmaps"] == 1
    assert {harness.wait(spec.id).status for spec in specs} == {JobStatus.SUCCEEDED}


def test_nobody_waits_long_for_another_thread(
    harness: Harness, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits for a server that is away holds up no other; nor does one that a fork has left behind."""
    monkeypatch.setattr(submitter, "TURN_SECONDS", 0.1)
    backend = harness.backend
    assert isinstance(backend, KubernetesBackend)
    with backend._creator._sharing:
        assert harness.run(harness.spec()).status is JobStatus.SUCCEEDED


def test_a_steady_submission_is_one_call(harness: Harness, cluster: Cluster) -> None:
    """What every job of a version shares is created by the first."""
    harness.submit(harness.spec())
    before = cluster.api.calls.copy()
    harness.submit(harness.spec())
    calls = cluster.api.calls - before
    assert {call: count for call, count in calls.items() if call.startswith("create")} == {"create jobs": 1}


def test_bookmarks_save_a_list(harness: Harness, cluster: Cluster) -> None:
    """A quiet watch grows too old to be resumed unless it takes note of what the server says in between."""
    job_id = running(harness, "import time; time.sleep(8)")
    cluster.create_secret("unrelated", {})
    cluster.store.compact()
    time.sleep(3 * BOOKMARK_SECONDS)
    before = cluster.api.calls.copy()
    cluster.api.stop()
    cluster.api.start()
    assert harness.wait(job_id).status is JobStatus.SUCCEEDED
    calls = cluster.api.calls - before
    assert calls["list jobs"] == 0, dict(calls)
    assert calls["watch jobs"] >= 1


@pytest.mark.parametrize("tells", [True, False])
def test_a_list_whose_beginning_is_forgotten(
    harness: Harness, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    """A server forgets the time at which a long list began, and may say where to go on; every job is listed once."""
    label = f"long-{tells}"
    specs = [harness.spec(labels={"list": label}) for _ in range(5)]
    for spec in specs:
        harness.submit(spec)
    assert isinstance(harness.backend, KubernetesBackend)
    asked = harness.backend._cluster.ask
    pages: list[int] = []

    def forgetful(*arguments: Any, **options: Any) -> Any:
        try:
            answer = asked(*arguments, **options)
        except ApiError as error:
            error.resume = error.resume if tells else ""
            raise
        pages.append(len(answer["items"]))
        cluster.store.create("namespaces", "", {"metadata": {"name": f"{label}-{len(pages)}"}})
        cluster.store.compact()
        return answer

    monkeypatch.setattr(harness.backend._cluster, "ask", forgetful)
    listed = harness.backend._cluster.list("jobs", labels=f"list={label}", page=2)
    assert sorted(item["metadata"]["name"] for item in listed) == sorted(spec.id for spec in specs)
    assert pages == ([2, 2, 1] if tells else [2, 5])


@pytest.mark.parametrize("date", ["yesterday", "", "Sat, 28 Nov 2026 00:00:00 -0000"])
def test_a_date_that_is_none(harness: Harness, monkeypatch: pytest.MonkeyPatch, date: str) -> None:
    """A proxy may write the header anew, or wrongly: then this machine's clock has to do."""
    monkeypatch.setattr(server.Handler, "date_time_string", lambda *_: date)
    assert harness.wait(running(harness)).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "[]",
        '"x"',
        "5",
        "{}",
        '{"type": "ADDED"}',
        '{"type": "ERROR", "object": null}',
        '{"type": "ADDED", "object": {}}',
    ],
)
def test_a_line_of_a_watch_that_is_none(harness: Harness, cluster: Cluster, line: str) -> None:
    """What stands between the server and us may say something else for a while: the watch is begun again."""
    cluster.api.disturbances += [
        Disturbance("watch", kind, 2, status=200, body=f"{line}\n") for kind in ("jobs", "pods")
    ]
    assert harness.wait(running(harness)).status is JobStatus.SUCCEEDED
