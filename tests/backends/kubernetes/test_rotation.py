"""A node keeps the newest file of a long log. Whoever reads a running job's log hears what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lyftlearn.backend import LogQuery
from lyftlearn.testing import Harness
from lyftlearn.types import JobStatus
from tests.backends.kubernetes.proxy import Proxy
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.store import Object, wait_until

LINES = 4000
LONG = f"""
import os, pathlib, time
for number in range({LINES}):
    print("line", number, "." * 90)
print("up", flush=True)
while not pathlib.Path(os.environ["FLAG"]).exists():
    time.sleep(0.05)
print("last")
"""
PRINTED = [*(f"line {number} {'.' * 90}" for number in range(LINES)), "up", "last"]


@pytest.fixture
def rotated_at(cluster: Cluster) -> Iterator[None]:
    """A node that rotates logs early, if later than what no node drops."""
    before, cluster.kubelet.node.log_rotated_at = cluster.kubelet.node.log_rotated_at, 300_000
    yield
    cluster.kubelet.node.log_rotated_at = before


def run(harness: Harness, cluster: Cluster, flag: Path) -> str:
    """Start a job that prints much at once and lasts until `flag` is there; return its id."""
    harness.put({"x": b""})
    spec = harness.quiet(LONG, env={"FLAG": str(flag)})
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    (pod,) = cluster.pods(spec.id)
    note = Path(harness.storage_url.removeprefix("file://")) / "logs" / spec.id / f"{pod['metadata']['name']}.beginning"
    wait_until(note.exists)
    return spec.id


@pytest.mark.usefixtures("rotated_at")
def test_a_beginning_that_is_gone_is_told(
    harness: Harness, cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may go in the job's first second; and who follows gets every line that comes, and none twice."""
    job_id = run(harness, cluster, tmp_path / "flag")
    lines = harness.lines(job_id)
    assert 0 < len(lines) < LINES
    assert lines == PRINTED[:-1][-len(lines) :]
    assert "its node has dropped what was printed before" in caplog.text
    caplog.clear()
    assert harness.lines(job_id, tail=2) == PRINTED[-3:-1]
    assert not caplog.records
    following = harness.backend.logs(job_id, LogQuery(follow=True))
    begun = [next(following).text]
    assert "its node has dropped what was printed before" in caplog.text
    (tmp_path / "flag").touch()
    followed = begun + [line.text for line in following]
    assert followed == PRINTED[-len(followed) :]
    assert harness.wait(job_id).status is JobStatus.SUCCEEDED
    assert harness.lines(job_id) == PRINTED


def test_a_start_without_a_word_is_no_loss(
    harness: Harness, cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Imports and downloads take minutes in which nothing is printed."""
    job_id = run(harness, cluster, tmp_path / "flag")
    (pod,) = cluster.pods(job_id)

    def start_earlier(item: Object) -> None:
        (status,) = item["status"]["containerStatuses"]
        status["state"]["running"]["startedAt"] = item["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"

    cluster.store.modify("pods", NAMESPACE, pod["metadata"]["name"], start_earlier)
    assert harness.lines(job_id) == PRINTED[:-1]
    assert not caplog.records
    (tmp_path / "flag").touch()
    assert harness.wait(job_id).status is JobStatus.SUCCEEDED


BURSTS = f"""
import os, pathlib, time
print("first", flush=True)
for flag in (os.environ["FLAG"], os.environ["FLAG"] + "2"):
    while not pathlib.Path(flag).exists():
        time.sleep(0.05)
    for number in range({LINES} if not flag.endswith("2") else 0):
        print("line", number, "." * 90, flush=number % 100 == 0)
    print("burst", flush=True)
print("last")
"""


@pytest.mark.usefixtures("rotated_at")
def test_lines_that_nobody_could_read_are_told(
    new_harness: Callable[..., Harness], cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who follows through an outage in which the log was rotated hears between what the missing lines are."""
    flag = tmp_path / "flag"
    with Proxy(cluster.api.port) as proxy:
        harness = new_harness(kubeconfig=str(cluster.kubeconfig(url=proxy.url, name="away")))
        spec = harness.quiet(BURSTS, env={"FLAG": str(flag)})
        harness.submit(spec)
        following = harness.backend.logs(spec.id, LogQuery(follow=True))
        assert next(following).text == "first"
        proxy.cut()
        flag.touch()
        (pod,) = cluster.pods(spec.id)
        runner = cluster.kubelet.runner(pod)
        assert runner is not None
        wait_until(lambda: "burst" in runner.log.tail())
        assert f"line 0 {'.' * 90}" != next(following).text
        (warning,) = [record.getMessage() for record in caplog.records if "lacks lines" in record.getMessage()]
        assert "its node has dropped them. The whole log can be read once the job has ended" in warning
        (tmp_path / "flag2").touch()
        assert [line.text for line in following][-3:] == ["burst", "burst", "last"]
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert len(harness.lines(spec.id)) == LINES + 4
    assert sum("lacks lines" in record.getMessage() for record in caplog.records) == 1
