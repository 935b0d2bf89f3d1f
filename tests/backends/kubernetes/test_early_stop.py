"""A stop in a container's first moments, when its first process cannot hear a signal yet."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from lyftlearn.testing import Harness
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.store import wait_until

AT_ONCE = 4
SECONDS, GRACE = 30, timedelta(minutes=2)
"""A command that nobody stops ends well before the grace is over, and long after a busy machine has stopped it."""


def delete_at(harness: Harness, cluster: Cluster, milliseconds: int) -> bool:
    """Delete a job's pod so long after its container was made; whether its command ran to its end all the same."""
    directory = Path(harness.storage_url.removeprefix("file://"), "ended")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    code = f"import os, time; time.sleep({SECONDS}); open(os.path.join({str(directory)!r}, os.uname().nodename), 'w')"
    spec = harness.spec(code, grace=GRACE)
    harness.submit(spec)
    while not any(cluster.has_container(pod) for pod in cluster.pods(spec.id)):
        time.sleep(0.002)
    time.sleep(milliseconds / 1000)
    name: str = cluster.pods(spec.id)[0]["metadata"]["name"]
    cluster.store.delete("pods", NAMESPACE, name)
    wait_until(lambda: cluster.store.find("pods", NAMESPACE, name) is None)
    harness.backend.stop(spec.id)
    harness.wait(spec.id)
    return (directory / name[:63]).exists()


@pytest.mark.parametrize("milliseconds", [0, 30])
def test_a_stop_in_the_first_moments(harness: Harness, cluster: Cluster, milliseconds: int) -> None:
    """The kernel drops what process 1 has no handler for; the job must not run on, and count as having succeeded."""
    assert not delete_at(harness, cluster, milliseconds)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_stop_of_the_first_second_is_lost(harness: Harness, cluster: Cluster) -> None:
    """Most are lost between 20 and 200 milliseconds on a busy machine; tests/runtime tries all of them."""
    moments = (*range(0, 200, 4), *range(200, 1000, 20))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lost = pool.map(lambda moment: delete_at(harness, cluster, moment), moments)
        assert [moment for moment, is_lost in zip(moments, lost, strict=True) if is_lost] == []
