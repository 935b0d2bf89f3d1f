"""Two clusters behind one configuration and one history: each job is its own cluster's, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.errors import JobNotFound
from lyftlearn.ops.collect import make_collector
from lyftlearn.ops.cost import cost
from lyftlearn.ops.placement import placement
from tests.doubles.cluster.cluster import IMAGE, NAMESPACE, Cluster

EAST, WEST = "kubernetes", "kubernetes-west"


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[dict[str, Cluster]]:
    made = {name: Cluster(tmp_path / name) for name in (EAST, WEST)}
    yield made
    for cluster in made.values():
        cluster.close()


@pytest.fixture
def config(clusters: dict[str, Cluster], tmp_path: Path) -> dict[str, Any]:
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    prices = {
        EAST: {"cpu_hour": 36.0, "memory_hour": 0.0},
        WEST: {"cpu_hour": 72.0, "memory_hour": 0.0, "currency": "EUR"},
    }
    tables = {
        name: {"kubeconfig": str(cluster.kubeconfig()), "volumes": [volume], "prices": prices[name]}
        for name, cluster in clusters.items()
    }
    return {
        "home": str(tmp_path / "home"),
        "storage": {"url": (tmp_path / "storage").as_uri()},
        "backends": {"instances": {WEST: "kubernetes"}},
        "migration": {"from": EAST, "to": WEST, "stage": "off"},
        **tables,
    }


def submit(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, backend: str, command: str) -> lyftlearn.Job:
    with monkeypatch.context() as context:
        context.setenv("LYFTLEARN_BACKEND", backend)
        return lyftlearn.Client(config=config).train("eta", command=command, image=IMAGE)


def test_two_clusters_in_one_history(
    clusters: dict[str, Cluster], config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids lead to their cluster; lists, ends, logs and costs have both, also when one cluster has forgotten its job."""
    jobs = {name: submit(config, monkeypatch, name, f"echo in {name}") for name in (EAST, WEST)}
    for name, cluster in clusters.items():
        assert [found["metadata"]["name"] for found in cluster.store.all("jobs")] == [jobs[name].id]

    collector = make_collector(lyftlearn.Client(config=config))  # nobody waits for them
    for _ in range(600):
        collector.step()
        if collector.ended == 2:
            break
        collector._changed.wait(0.1)
    collector.close()
    assert collector.ended == 2

    client = lyftlearn.Client(config=config)
    clusters[WEST].store.delete("jobs", NAMESPACE, jobs[WEST].id)
    with pytest.raises(JobNotFound):
        client._session.registry.get(WEST).describe(jobs[WEST].id)
    listed = {job.id: placement(job).backend for job in client.jobs()}
    assert listed == {jobs[name].id: name for name in (EAST, WEST)}
    assert [line for line in client.job(jobs[EAST].id).logs() if "lyftlearn" not in line] == [f"in {EAST}"]
    with pytest.warns(UserWarning, match=f"{WEST} keeps {jobs[WEST].id} no more"):
        assert [line for line in client.job(jobs[WEST].id).logs() if "lyftlearn" not in line] == [f"in {WEST}"]
    assert client.job(jobs[WEST].id).state.status == "succeeded"

    rows = {row.group: row for row in cost("backend", client=client).rows}
    assert {name: (row.jobs, row.priced, row.currency) for name, row in rows.items()} == {
        EAST: (1, 1, "USD"),
        WEST: (1, 1, "EUR"),
    }


def test_instances_that_share_a_letter(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ids would lead to the wrong cluster: nothing is sent, and it is said what to write."""
    config["backends"] = {"instances": {WEST: "kubernetes"}, "letters": {WEST: "k"}}
    with pytest.raises(lyftlearn.LyftLearnError, match=r"both have the letter 'k' .* \[backends\.letters\]"):
        submit(config, monkeypatch, WEST, "true")
