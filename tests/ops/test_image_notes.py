"""What a plan says of its job's image: with the credentials of each platform, in bounded time, and never against it."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.backend import Plan
from lyftlearn.ops.images.credentials import credentials_for
from lyftlearn.ops.images.reference import parse_reference
from tests import images
from tests.doubles import registry as registries
from tests.doubles.cluster.cluster import NAMESPACE, Cluster

from .test_images import PYTHON, Publisher, basic, home

__all__ = ["home"]
NO_PYTHON = "python: no `python3` on its PATH"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


def client(home: Path, **tables: Any) -> Client:
    config = {"home": str(home / "state"), "storage": {"url": "s3://bucket/jobs"}, **tables}
    return Client(config=config)


def image_notes(client: Client, image: str, backend: str = "kubernetes") -> list[str]:
    submission = ops.plan("train", model="eta", command=["true"], image=image, client=client, backend=backend)
    made: Plan = ops.with_image_notes(submission.plan, client)
    assert made.faults == submission.plan.faults
    return [note for note in made.notes if note.startswith("image ")]


def on_cluster(home: Path, cluster: Cluster, **table: Any) -> Client:
    return client(home, kubernetes={"kubeconfig": str(cluster.kubeconfig()), **table})


def test_what_is_known_of_the_content_is_not_asked_for_again(home: Path, cluster: Cluster) -> None:
    """A second plan asks what the tag means now; a tag that moved is looked at anew, and a cut file, too."""
    registries.require_registry()
    with registries.registry(home) as address:
        publisher, name = Publisher(address, lambda _: {}), f"{address}/team/eta:2"
        publisher.image("team/eta:2", {"app": None})
        asker, before = on_cluster(home, cluster), len(registries.asked(home))
        first = image_notes(asker, name)
        assert NO_PYTHON in first[0]
        once = registries.asked(home)[before:]
        assert image_notes(asker, name) == first
        again = registries.asked(home)[before + len(once) :]
        assert len(once) > 2
        assert again == ["GET /v2/team/eta/manifests/2"]
        for kept in (home / "state/cache/images").iterdir():
            kept.write_text(kept.read_text()[:50])
        assert image_notes(asker, name) == first
        publisher.image("team/eta:2", PYTHON, Env=["PATH=/usr/bin"])
        assert image_notes(asker, name) == []


@pytest.mark.parametrize("kind", ["of the configuration", "of the account", "of the old kind"])
def test_the_clusters_own_pull_secrets_open_a_registry(home: Path, cluster: Cluster, kind: str) -> None:
    """Those of the configuration, or of the pods' account; nobody has logged in here, and nothing shows a password."""
    registries.require_registry()
    with registries.registry(home, registries.basic(home)) as address:
        Publisher(address, lambda _: basic()).image("team/eta:2", {"app": None})
        name, entry = f"{address}/team/eta:2", {"auth": basic()["Authorization"].removeprefix("Basic ")}
        (refused,) = image_notes(on_cluster(home, cluster, image_pull_secrets=["not-there"]), name)
        assert f"was not looked at: {address} refuses it" in refused
        auths = {f"https://{address}/team": entry, address: {"auth": base64.b64encode(b"x:y").decode()}}
        current = {".dockerconfigjson": json.dumps({"auths": auths})}
        table: dict[str, Any] = {"image_pull_secrets": ["pulls"]}
        if kind == "of the account":
            table = {"service_account": "trainer"}
            account = {"metadata": {"name": "trainer"}, "imagePullSecrets": [{"name": "pulls"}]}
            cluster.store.create("serviceaccounts", NAMESPACE, {"apiVersion": "v1", "kind": "ServiceAccount"} | account)
        cluster.create_secret("pulls", {".dockercfg": json.dumps(auths)} if kind == "of the old kind" else current)
        try:
            notes = image_notes(on_cluster(home, cluster, **table), name)
        finally:
            cluster.store.delete("secrets", NAMESPACE, "pulls")
    assert NO_PYTHON in notes[0]
    assert registries.PASSWORD not in str(notes)


def test_aws_opens_its_own_registries(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By GetAuthorizationToken of the account and the region in the name, with the credentials that boto3 finds."""
    registries.require_registry()
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    auth = registries.basic(home, registries.ECR_ENTRY)
    opener = base64.b64encode(b"AWS:123456789012-auth-token").decode()
    tls = registries.identity(home, registries.ECR_HOST)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls["certificate"])
    name = f"{registries.ECR_HOST}/team/eta:2"
    table = {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1"}
    try:
        with registries.registry(home, auth) as plain:
            Publisher(plain, lambda _: {"Authorization": f"Basic {opener}"}).image("team/eta:2", {"app": None})
        with registries.registry(home, auth, tls) as address:
            tunnel = registries.Tunnel(address)
            monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
            for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.setenv(variable, "testing")
            notes = image_notes(client(home, sagemaker=table), name, "sagemaker")
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
            (refused,) = image_notes(client(home / "other", sagemaker=table), name, "sagemaker")
            tunnel.close()
    finally:
        server.stop()
    assert NO_PYTHON in notes[0]
    assert "AWS gives no authorization" in refused
    assert "auth-token" not in str([*notes, refused])


def test_a_registry_that_is_away_stands_against_no_plan(home: Path, cluster: Cluster, closed_port: int) -> None:
    """One that refuses connections, and one that takes them and never answers: a note, in seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asker = on_cluster(home, cluster)
        (away,) = image_notes(asker, f"127.0.0.1:{closed_port}/team/eta:2")
        (late,) = image_notes(asker, f"127.0.0.1:{silent.getsockname()[1]}/team/eta:2")
    assert f"was not looked at: 127.0.0.1:{closed_port} cannot be reached: Failed to establish a new conn" in away
    assert late.endswith("was not looked at: there was no answer within 5 s")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"manifests": [1]}',
        b'{"manifests": [{"platform": {"os": "linux"}}]}',
        b'{"config": {}, "layers": []}',
        b'{"config": {"digest": "sha256:00"}, "layers": [{"size": "9"}]}',
        b'{"config": {"digest": 3}, "layers": [[]]}',
        b"{" + b" " * (20 << 20) + b"}",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda answer: repr(answer[:30]),
)
def test_a_registry_that_answers_anything(home: Path, cluster: Cluster, answer: bytes) -> None:
    """Said in a note, and by doctor in a check; without a traceback."""

    class Anything(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name in the base
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Anything) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        name = f"127.0.0.1:{server.server_address[1]}/team/eta:2"
        (note,) = image_notes(on_cluster(home, cluster), name)
        (check,) = ops.image_checks(name, {"home": str(home / "state")})
        server.shutdown()
    assert "was not looked at" in note
    assert "no answer within" not in note
    assert str(check.verdict) == "failed"


def test_a_job_that_runs_in_no_image_asks_nobody(home: Path) -> None:
    asker = client(home, local={"containers": "never"})
    assert image_notes(asker, "127.0.0.1:1/team/eta:2", "local") == []


def test_an_engine_of_this_machine_is_asked_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is started once for each content: what it has is kept."""
    engine = images.require_engine()
    monkeypatch.setattr("lyftlearn.ops.images.engine.ENGINES", (engine.program,))
    monkeypatch.setattr("lyftlearn.ops.images.SECONDS", 120.0)
    name = f"localhost/lyftlearn-test/notes:{home.name.lower()}"
    images.import_image(engine, name, {"/etc/nothing": b"in it"})
    asker = client(home, local={"containers": "podman"})
    try:
        first = image_notes(asker, name, "local")
        assert NO_PYTHON in first[0]
        monkeypatch.setattr("lyftlearn.ops.images.engine._contents", None)  # would start a container
        assert image_notes(asker, name, "local") == first
    finally:
        subprocess.run([engine.program, "rmi", name], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("names", "opened"),
    [
        (["registry.example"], True),
        (["https://registry.example/v2/"], True),
        (["registry.example/team"], True),
        (["registry.example/team/eta"], True),
        (["*.example"], True),
        (["registry.example/tea"], False),
        (["registry.example/other"], False),
        (["*"], False),
        (["example"], False),
        (["registry.example:443"], False),
    ],
)
def test_entries_open_what_they_are_for(home: Path, names: list[str], *, opened: bool) -> None:
    """As the kubelet and podman read them: patterns for parts of the host, and the beginning of the path."""
    del home
    reference = parse_reference("registry.example/team/eta:2")
    auths = {name: {"auth": base64.b64encode(b"me:it").decode()} for name in names}
    assert (credentials_for(reference, [{"auths": auths}]) is not None) is opened
