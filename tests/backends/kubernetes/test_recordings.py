"""What real clusters answered, held against the tests' own; and that a recording keeps no secret."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, JobQuery
from lyftlearn.errors import JobNotFound
from lyftlearn.testing import Harness
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.cluster import IMAGE, NAMESPACE, Cluster
from tests.doubles.replay import RECORDINGS, differences, exchanges

CANARY = "canary-4a1f0c-of-a-user"
REAL = sorted(RECORDINGS.glob("kubernetes-*.jsonl"))


def replay(path: Path, directory: Path) -> str:
    """Send what was recorded to a new cluster, in its own namespace; return in what it differs, a line each."""
    cluster = Cluster(directory)
    table = {"kubeconfig": str(cluster.kubeconfig())}
    backend = KubernetesBackend(
        BackendSettings(name="kubernetes", table=table, home=directory, storage_url="file:///x")
    )
    transport = backend._cluster._transport()

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        before, between, rest = request["path"].partition("/namespaces/")
        path = f"{before}{between}{NAMESPACE}/{rest.partition('/')[2]}" if between else before
        content = json.dumps(request["content"]).encode() if request["content"] is not None else None
        answer = transport.send(
            request["method"], path, params=request["params"], content=content, headers=request["headers"]
        )
        return {"code": answer.status, "body": json.loads(answer.data)}

    try:
        return "\n".join(differences(path, ask))
    finally:
        transport.close()
        cluster.close()


@pytest.fixture
def recording(
    new_backend: Callable[..., KubernetesBackend], storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What a job's life becomes as a recording."""
    directory = tmp_path / "recorded"
    monkeypatch.setenv("LYFTLEARN_RECORD", str(directory))
    backend = new_backend()
    harness = Harness(backend, storage_url, ("python3",), 60)
    harness.defaults = {"image": IMAGE}
    spec = harness.spec("print(1)", env={"API_PASSWORD": CANARY}, labels={"team": "eta"})
    backend.submit(backend.plan(spec))
    backend.submit(backend.plan(spec))
    backend.describe(spec.id)
    list(backend.list(JobQuery(labels={"team": "eta"})))
    backend.stop(spec.id)
    with pytest.raises(JobNotFound):
        backend.describe("eta-tkaaaaaaaaaaa")
    harness.close()
    monkeypatch.delenv("LYFTLEARN_RECORD")
    (path,) = directory.iterdir()
    return path


def test_a_recording_holds_what_was_asked_and_no_secret(recording: Path) -> None:
    """Whoever has a cluster must be able to give the file away."""
    asked = [(request["method"], answer["code"]) for request, answer in exchanges(recording)]
    assert ("POST", 201) in asked
    assert ("GET", 404) in asked
    assert ("PATCH", 200) in asked
    text = recording.read_text()
    assert CANARY not in text
    assert "API_PASSWORD" in text, "the shape stays"
    assert "Authorization" not in text
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600


def test_a_cluster_is_held_to_a_recording(recording: Path, tmp_path: Path) -> None:
    """A double that answers what was recorded passes; one that does not is named by exchange and field."""
    assert replay(recording, tmp_path / "another") == ""
    head, *lines = recording.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if '"code": 201' in line)
    exchange = json.loads(lines[at])
    exchange["answer"]["code"] = 422
    exchange["answer"]["body"]["metadata"]["selfLink"] = "/x"
    del exchange["answer"]["body"]["metadata"]["uid"]
    recording.write_text("\n".join([head, *lines[:at], json.dumps(exchange)]))
    found = replay(recording, tmp_path / "a-third").splitlines()
    assert [text.partition(": ")[2] for text in found if f"exchange {at + 1}," in text] == [
        ".body.metadata.selfLink is missing",
        ".body.metadata.uid is there, and was not",
        ".code is 201, and was 422",
    ]


@pytest.mark.skipif(not REAL, reason="nobody has recorded a real cluster yet")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_what_a_real_cluster_answered(path: Path, tmp_path: Path) -> None:
    """The double answers like the clusters that were recorded."""
    assert replay(path, tmp_path / "cluster") == ""


def test_a_recording_that_cannot_be_written_disturbs_nobody(
    new_backend: Callable[..., KubernetesBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was left set must not cost a job."""
    monkeypatch.setenv("LYFTLEARN_RECORD", "/dev/null/x")
    with pytest.raises(JobNotFound):
        new_backend().describe("eta-tkaaaaaaaaaaa")
