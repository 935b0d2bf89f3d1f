"""Lines through dropped connections, across pods, and after pods are gone."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn._storage.kept_logs import StampedLine, parse, parts
from lyftlearn.backend import LogQuery
from lyftlearn.errors import LyftLearnError
from lyftlearn.testing import Harness
from lyftlearn.types import JobStatus
from lyftlearn_kubernetes.logs.cursor import LineBuffer, LogCursor
from tests.backends.kubernetes.proxy import Proxy
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.store import ApiError, Object, wait_until

CHATTY = """
import sys, time
for number in range(400):
    print("same" if number % 3 else f"line {number}", flush=True)
    time.sleep(0.01)
"""
WANTED = ["same" if number % 3 else f"line {number}" for number in range(400)]


def stamp(number: int, at: datetime, text: bytes) -> bytes:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{number:09d}Z ".encode() + text


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([b"", b"a", b"b"])), max_size=40),
    st.randoms(use_true_random=False),
)
def test_a_log_that_is_read_in_pieces(steps: list[tuple[int, int, bytes]], chance: random.Random) -> None:
    """Whatever the pieces, and however many lines share a moment, each line is given once and in order."""
    moment, nanoseconds, log = datetime(2026, 1, 1, tzinfo=UTC), 0, []
    for seconds, fraction, text in steps:
        moment += timedelta(seconds=seconds)
        nanoseconds = nanoseconds + fraction if not seconds else fraction
        log.append(stamp(nanoseconds, moment, text))
    cursor, given_lines = LogCursor(), []
    for _ in range(5):
        since = cursor.resume().get("sinceTime", "")
        answer = [line for line in log if line[:19].decode() >= since[:19]]
        for raw in answer[: chance.randrange(len(answer) + 1)]:
            line = parse(raw)
            assert line is not None
            if cursor.passes(line):
                given_lines.append(raw)
    assert given_lines == log[: len(given_lines)]


@given(st.lists(st.integers(-3, 3), max_size=40), st.randoms(use_true_random=False))
def test_a_clock_that_is_set_back(steps: list[int], chance: random.Random) -> None:
    """NTP sets a node's clock: what comes in one request is new, and after a break nothing comes a second time."""
    moment, log = datetime(2026, 1, 1, tzinfo=UTC), []
    for number, seconds in enumerate(steps):
        moment += timedelta(seconds=seconds)
        log.append(stamp(chance.randrange(10**9), moment, str(number).encode()))
    cursor, found = LogCursor(), list[int]()
    for attempt in range(3):
        since = cursor.resume().get("sinceTime", "")
        answer = [line for line in log if line[:19].decode() >= since[:19]]
        for raw in answer[: chance.randrange(len(answer) + 1)]:
            line = parse(raw)
            assert line is not None
            if cursor.passes(line):
                found.append(int(line.text))
        if not attempt:
            assert found == list(range(len(found)))
    assert found == sorted(set(found))


STEPPING = """
import os, pathlib, time
print("before", flush=True)
while not pathlib.Path(os.environ["FLAG"]).exists():
    time.sleep(0.05)
print("after", flush=True)
while not pathlib.Path(os.environ["FLAG"] + "2").exists():
    time.sleep(0.05)
"""


def test_a_nodes_clock_that_is_set_back(harness: Harness, cluster: Cluster, tmp_path: Path) -> None:
    """A machine that was paused or moved has a clock that is wrong, until it is set: no line is lost to that."""
    flag = tmp_path / "flag"
    spec = harness.quiet(STEPPING, env={"FLAG": str(flag)})
    try:
        cluster.kubelet.node.clock_ahead = 120.0
        harness.submit(spec)
        following = harness.backend.logs(spec.id, LogQuery(follow=True))
        assert next(following).text == "before"
        cluster.kubelet.node.clock_ahead = 0.0
        flag.touch()
        assert next(following).text == "after"
        assert harness.lines(spec.id) == ["before", "after"]
    finally:
        cluster.kubelet.node.clock_ahead = 0.0
    Path(f"{flag}2").touch()
    assert list(following) == []


@given(st.lists(st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_that_nobody_can_hold(texts: list[bytes], data: st.DataObject) -> None:
    """However the network cuts them, they come in the same parts, as what was kept of them does."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("lyftlearn_kubernetes.logs.cursor", "lyftlearn._storage.kept_logs"):
            patch.setattr(f"{module}.LONGEST_LINE", 10)
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        lines = [stamp(number, moment, text) for number, text in enumerate(texts)]
        expected = [part for line in map(parse, lines) if line for part in parts(line)]
        buffer = LineBuffer()
        found: list[StampedLine] = []
        for line in lines:
            while len(line) > 1 and data.draw(st.booleans()):
                cut = data.draw(st.integers(1, len(line) - 1))
                found += buffer.add(line[:cut], ends=False)
                line = line[cut:]  # noqa: PLW2901 - what is left of it
            found += buffer.add(line, ends=True)
        assert found == expected
        assert all(len(part.text) <= 10 for part in found)
        assert not buffer.foreign
        assert list(buffer.rest()) == []
        assert list(buffer.add(b"unable to retrieve container logs", ends=False)) == []
        assert (list(buffer.rest()), buffer.foreign) == ([], True)


def test_following_through_a_connection_that_breaks(cluster: Cluster, new_harness: Callable[..., Harness]) -> None:
    """Load balancers cut what lasts long: nothing may be lost, doubled or read as the end."""
    with Proxy(cluster.api.port, seed=7, chance=0.2) as proxy:
        harness = new_harness(kubeconfig=str(cluster.kubeconfig(url=proxy.url, name="cut")))
        spec = harness.quiet(CHATTY)
        harness.submit(spec)
        assert harness.lines(spec.id, follow=True) == WANTED
        assert proxy.faults


def test_a_job_that_is_stopped_before_it_starts_has_no_log(
    harness: Harness, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pod may stay for a while, ended and without a log: nothing of that was lost."""
    monkeypatch.setattr("tests.doubles.cluster.kubelet.LAG", 5.0)
    harness.defaults = {**harness.defaults, "image": "not-to-be-pulled"}
    spec = harness.quiet("print('ran')")
    harness.submit(spec)
    wait_until(lambda: bool(cluster.pods(spec.id)) and "containerStatuses" in cluster.pods(spec.id)[0]["status"])
    harness.backend.stop(spec.id)
    wait_until(lambda: cluster.pods(spec.id)[0]["status"]["phase"] == "Failed")
    assert harness.lines(spec.id) == []
    assert harness.lines(spec.id, follow=True) == []
    assert harness.wait(spec.id).status is JobStatus.STOPPED


def test_following_a_job_whose_node_is_lost(harness: Harness, cluster: Cluster) -> None:
    """The second pod's lines come after the first one's, in one stream."""
    code = """
        import os, pathlib, time
        flag = pathlib.Path(os.environ["FLAG"])
        again = flag.exists()
        flag.touch()
        print("first", "and more" * again, flush=True)
        print("second", flush=True)
        if not again:
            time.sleep(600)
    """
    flag = f"{harness.storage_url.removeprefix('file://')}/flag"
    harness.put({"x": b""})
    spec = harness.quiet(code, env={"FLAG": flag})
    harness.submit(spec)
    seen = []
    for line in harness.backend.logs(spec.id, LogQuery(follow=True)):
        seen.append(line.text)
        if seen == ["first ", "second"]:
            cluster.lose_node_of(cluster.pods(spec.id)[0])
    assert seen == ["first ", "second", "first and more", "second"]


def test_logs_of_pods_that_are_gone(harness: Harness, cluster: Cluster) -> None:
    """Pods are cleaned up long before anybody looks; what was kept reads the same."""
    spec = harness.succeed(harness.quiet("for number in range(5): print(number)"))
    before = harness.lines(spec.id)
    for pod in cluster.pods(spec.id):
        cluster.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    wait_until(lambda: not cluster.pods(spec.id))
    assert harness.lines(spec.id) == before == ["0", "1", "2", "3", "4"]
    assert harness.lines(spec.id, follow=True) == before
    assert harness.lines(spec.id, tail=2) == ["3", "4"]


def test_following_a_stop_to_its_last_line(harness: Harness) -> None:
    """The pod is deleted right after its last words."""
    code = """
        import signal, sys, time
        def leave(*_):
            for number in range(200):
                print("leaving", number, flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        print("up", flush=True)
        time.sleep(600)
    """
    spec = harness.quiet(code)
    harness.submit(spec)
    seen = []
    for line in harness.backend.logs(spec.id, LogQuery(follow=True)):
        seen.append(line.text)
        if line.text == "up":
            harness.backend.stop(spec.id)
    assert seen == ["up", *(f"leaving {number}" for number in range(200))]


def test_nothing_kept_them(new_harness: Callable[..., Harness], cluster: Cluster, harness: Harness) -> None:
    """An empty log would say that the job printed nothing."""
    spec = harness.quiet("print('once')")
    plan = harness.backend.plan(spec)
    annotations = plan.requests[-1].body["spec"]["template"]["metadata"]["annotations"]
    annotations["lyftlearn/bundle"] = json.dumps({**json.loads(annotations["lyftlearn/bundle"]), "log": None})
    harness.backend.submit(plan)
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
    for pod in cluster.pods(spec.id):
        cluster.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    wait_until(lambda: not cluster.pods(spec.id))
    for follow in (False, True):
        with pytest.raises(LyftLearnError, match=r"\[storage\] url"):
            harness.lines(spec.id, follow=follow)


def test_who_stops_following_leaves_nothing_behind(harness: Harness) -> None:
    """A terminal that is closed must not keep a thread and a connection for each node until the job ends."""
    spec = harness.quiet("import time; print('up', flush=True); time.sleep(600)", nodes=2)
    harness.submit(spec)
    lines = harness.backend.logs(spec.id, LogQuery(follow=True))
    next(lines)
    lines.close()  # type: ignore[attr-defined]  # a generator, as every backend's is
    wait_until(lambda: not any(thread.name == "lyftlearn-log" for thread in threading.enumerate()))
    harness.backend.stop(spec.id)


def test_following_past_a_log_that_is_lost(harness: Harness, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead node keeps its pods' logs; the job goes on elsewhere, and so does whoever follows it."""
    code = """
        import os, pathlib, time
        flag = pathlib.Path(os.environ["FLAG"])
        again = flag.exists()
        flag.touch()
        print("second" if again else "first", flush=True)
        time.sleep(0 if again else 600)
    """
    flag = f"{harness.storage_url.removeprefix('file://')}/flag"
    harness.put({"x": b""})
    spec = harness.quiet(code, env={"FLAG": flag})
    harness.submit(spec)
    harness.until_line(spec.id, "first")
    (lost,) = cluster.pods(spec.id)
    original = cluster.api.logs

    def unreachable(pod: Object, container: str, params: dict[str, str]) -> Iterator[bytes]:
        if pod["metadata"]["uid"] == lost["metadata"]["uid"]:
            raise ApiError(500, "InternalError", "dial tcp 10.0.0.7:10250: connect: no route to host")
        return original(pod, container, params)

    monkeypatch.setattr(cluster.api, "logs", unreachable)
    cluster.lose_node_of(lost)
    assert harness.lines(spec.id, follow=True) == ["second"]
    assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
