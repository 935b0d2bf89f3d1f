"""A migration goes both ways, between any two backends: layouts, platforms, and two clusters.

What a direction needs of its own is in `REFUSALS`: how its new side is made to refuse a job. All else is the same.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.rollout import Stage
from lyftlearn.types import JobStatus
from tests.doubles import platforms
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.platforms import Platforms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
WEST = "kubernetes-west"
PAIRS = [("local-kubernetes", "local-sagemaker"), ("kubernetes", "sagemaker"), ("kubernetes", WEST)]
DIRECTIONS = [direction for one, other in PAIRS for direction in ((one, other), (other, one))]
COMMAND = 'echo weights > "$LYFTLEARN_MODEL_DIR/model.bin"'
REFUSALS: Mapping[str, Mapping[str, Any]] = {
    "local-kubernetes": {"image_required": True},
    "local-sagemaker": {"image_required": True},
    "kubernetes": {"namespace": "nowhere"},
    WEST: {"namespace": "nowhere"},
    "sagemaker": {"role": "no-role"},
}
Make = Callable[..., Client]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Every platform, and a second cluster."""
    with platforms.platforms(tmp_path_factory.mktemp("platforms")) as found:
        west = Cluster(tmp_path_factory.mktemp("west"))
        west.node.environment = dict(found.environment)
        with found.config.open("a") as config:
            config.write(f'[backends.instances]\n{WEST} = "kubernetes"\n')
            config.write(f'[{WEST}]\nkubeconfig = "{west.kubeconfig()}"\nstarting = "3s"\n')
        yield found
        west.close()


@pytest.fixture
def make(running: Platforms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Return a function that makes a client in a migration of a direction, whose flags are in `flags.json`."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    for name in (*platforms._OF_THIS_MACHINE, "LYFTLEARN_BACKEND", "LYFTLEARN_HOME", "LYFTLEARN_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    tables = tomllib.loads(running.config.read_text())

    def client(direction: tuple[str, str], **more: Any) -> Client:
        old, new = direction
        migration: dict[str, Any] = {"from": old, "to": new, "flags": str(tmp_path / "flags.json"), "cache": "0s"}
        migration |= {"shadow": {"models": ["eta"]}, "kill_switch": str(tmp_path / "stop")}
        own = {"home": str(tmp_path / "home"), "project": f"{old}-{new}-{tmp_path.name}", "migration": migration}
        return Client(config={**tables, **own, new: {**tables[new], **more}})

    return client


def say(folder: Path, stage: str, name: str = "flags.json") -> Path:
    flag = {"state": "ENABLED", "variants": {str(one): str(one) for one in Stage}, "defaultVariant": "off"}
    path = folder / name
    path.write_text(json.dumps({"flags": {"lyftlearn-migration": {**flag, "targeting": {"if": [True, stage]}}}}))
    return path


def backend_of(job: Any) -> str:
    return str(json.loads(job._record.decision)["backend"])


@pytest.mark.parametrize("direction", DIRECTIONS, ids="-to-".join)
def test_the_whole_way_and_back(make: Make, tmp_path: Path, direction: tuple[str, str]) -> None:
    """From off to complete and back: each job runs where its stage says, and every one is found afterwards."""
    old, new = direction
    client = make(direction)
    jobs: list[str] = []
    for stage in (*Stage, Stage.OFF):
        say(tmp_path, stage)
        job = client.train("eta", command=COMMAND, key=f"nightly-{len(jobs)}")
        job.wait()
        assert backend_of(job) == (new if stage >= Stage.LIVE else old)
        jobs.append(job.id)
        assert client._session.recorder.drain(300)
    assert [client.job(one).state.status for one in jobs] == [JobStatus.SUCCEEDED] * len(jobs)
    say(tmp_path, "complete")
    assert client.train("eta", command=COMMAND, key="nightly-0").id == jobs[0]
    (found,) = ops.migration_report(client=client).models
    assert (found.submissions, found.ran_there, found.rehearsed, found.would_have_run) == (6, 2, 2, 2)
    (shadow,) = client.jobs(labels={"lyftlearn/shadow": jobs[2]})
    shadow.wait()
    (compared,) = ops.migration_status(client=client).total.comparisons
    assert (compared.job_id, compared.shadow_id, compared.differences) == (jobs[2], shadow.id, ())
    assert ops.migration_guard(client=client).verdict == "inconclusive"


@pytest.mark.parametrize("direction", DIRECTIONS, ids="-to-".join)
def test_a_refusal_falls_back(make: Make, tmp_path: Path, direction: tuple[str, str]) -> None:
    """A live job that the new side certainly refuses runs on the old one, and the report says why."""
    old, new = direction
    say(tmp_path, "live")
    client = make(direction, **REFUSALS[new])
    job = client.train("eta", command=COMMAND)
    job.wait()
    assert backend_of(job) == old
    report = ops.migration_report(client=client)
    assert report.fell_back == 1
    assert report.fall_backs  # one for each fault: a plan lists them all


@pytest.mark.parametrize("direction", DIRECTIONS, ids="-to-".join)
def test_a_flag_that_flips_under_a_job(make: Make, tmp_path: Path, direction: tuple[str, str]) -> None:
    """A job goes on where it is; a switch says beforehand who moves; the kill switch keeps the next job at home."""
    old, new = direction
    say(tmp_path, "live")
    client = make(direction)
    job = client.train("eta", command="sleep 3")
    found = ops.migration_switch(say(tmp_path, "off", "off.json"), why="back again", client=client)
    assert (found.moved, found.models[0].backend_before, found.models[0].backend_after) == (1, new, old)
    assert backend_of(client.train("eta", command="true")) == old
    say(tmp_path, "complete")
    (tmp_path / "stop").touch()
    assert backend_of(client.train("eta", command="true")) == old
    job.wait()
    assert (job.state.status, backend_of(job)) == (JobStatus.SUCCEEDED, new)
