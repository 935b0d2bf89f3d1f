"""What an operator hears of an image before a job runs in it: from an engine here, and from real registries."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from lyftlearn import ops
from lyftlearn.backend import Check, Verdict
from lyftlearn.ops.images.layers import contents_of
from lyftlearn.ops.images.reference import parse_reference
from tests import images
from tests.doubles import registry as registries

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PYTHON = {
    "usr/bin/python3": "python3.11",
    "usr/bin/python3.11": None,
    "usr/lib/python3.11/os.py": None,
    "usr/lib/python3/dist-packages/boto3/__init__.py": None,
    "bin": "usr/bin",
    "usr/bin/sh": "dash",
    "usr/bin/dash": None,
}


NOTHING = {"python": "failed", "boto3": "warning", "shell": "warning"}


def layer(files: Mapping[str, str | None]) -> bytes:
    """A packed layer: path to where a link leads, or None for a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, target in files.items():
            member = tarfile.TarInfo(name)
            if target is not None:
                member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


class Publisher:
    """Pushes images to a registry, as engines do. opener: what opens it, for the user and for a repository."""

    def __init__(self, address: str, headers: Callable[[str], dict[str, str]]) -> None:
        self.address = address
        self._headers = headers

    def blob(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"http://{self.address}/v2/{repository}/blobs/uploads/"
        place = requests.post(url, headers=self._headers(repository), timeout=30)
        place.raise_for_status()
        address = place.headers["Location"]
        address += ("&" if "?" in address else "?") + f"digest={digest}"
        requests.put(address, data=content, headers=self._headers(repository), timeout=30).raise_for_status()
        return {"digest": digest, "size": len(content)}

    def manifest(self, repository: str, version: str, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
        headers = {"Content-Type": media_type, **self._headers(repository)}
        url = f"http://{self.address}/v2/{repository}/manifests/{version}"
        requests.put(url, data=content, headers=headers, timeout=30).raise_for_status()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def image(
        self, name: str, files: Mapping[str, str | None], architecture: str = "amd64", **config: Any
    ) -> dict[str, Any]:
        repository, _, tag = name.partition(":")
        content = json.dumps({"os": "linux", "architecture": architecture, "config": config}).encode()
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(repository, content)}
        layers = [{"mediaType": LAYER, **self.blob(repository, layer(files))}]
        return self.manifest(repository, tag, MANIFEST, {"config": described, "layers": layers})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, in which no engine has an image."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr("lyftlearn.ops.images.engine.ENGINES", ())
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def open_registry(home: Path) -> Iterator[Publisher]:
    registries.require_registry()
    with registries.registry(home) as address:
        yield Publisher(address, lambda _: {})


def checks(image: str, home: Path) -> dict[str, Check]:
    return {check.name: check for check in ops.image_checks(image, {"home": str(home / "state")})}


def verdicts(found: Mapping[str, Check]) -> dict[str, str]:
    return {name: str(check.verdict) for name, check in found.items() if check.verdict is not Verdict.OK}


def test_an_image_that_is_well(open_registry: Publisher, home: Path) -> None:
    """All is said, and nothing is held against it."""
    entrypoint = ["python3", "-I", "/opt/lyftlearn/runtime.pyz", "run"]
    open_registry.image("team/eta:2", PYTHON, Entrypoint=entrypoint, Env=["PATH=/usr/bin"])
    found = checks(f"{open_registry.address}/team/eta:2", home)
    assert verdicts(found) == {}
    assert {name: check.detail for name, check in found.items() if name in ("python", "shell", "architecture")} == {
        "python": "`python3` is 3.11",
        "shell": "/bin/sh is there",
        "architecture": "linux/amd64",
    }
    assert found["entrypoint"].detail == "is the runtime"
    assert "no SOCI index" in found["size"].detail


@pytest.mark.parametrize(
    ("files", "config", "expected"),
    [
        ({"app": None}, {}, NOTHING),
        ({"usr/bin/python3": "python3.6", "usr/bin/python3.6": None}, {}, NOTHING),
        ({**PYTHON, "usr/lib/python3/dist-packages/boto3/__init__.py": "gone"}, {"User": "app"}, {"user": "warning"}),
        ({"usr/bin/python3": "nowhere"}, {}, NOTHING),
        (PYTHON, {"Env": ["PATH=/opt/conda/bin"]}, {"python": "failed"}),
        ({**PYTHON, "usr/bin/python3": None, "usr/lib/python3.11/os.py": "x", "usr/bin/python3.11": "x"}, {}, {}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    open_registry: Publisher, home: Path, files: dict[str, str | None], config: dict[str, Any], expected: dict[str, str]
) -> None:
    """Distroless, an old Python, another user: told before a job has waited for its machine."""
    open_registry.image("team/eta:2", files, **config)
    assert verdicts(checks(f"{open_registry.address}/team/eta:2", home)) == expected


def test_an_index_and_its_soci_index(open_registry: Publisher, home: Path) -> None:
    """The image of this machine's architecture is read; attestations are no images; the fallback tag counts."""
    one = open_registry.image("team/eta:amd", PYTHON)
    two = open_registry.image("team/eta:arm", {"app": None}, architecture="arm64")
    three = open_registry.image("team/eta:proof", {"app": None})
    entries = [
        {**three, "platform": {"os": "unknown", "architecture": "unknown"}},
        {**one, "platform": {"os": "linux", "architecture": "amd64"}},
        {**two, "platform": {"os": "linux", "architecture": "arm64"}},
    ]
    open_registry.manifest("team/eta", "2", INDEX, {"manifests": entries})
    soci = {**three, "artifactType": "application/vnd.amazon.soci.index.v1+json"}
    for image in (one, two):
        open_registry.manifest("team/eta", image["digest"].replace(":", "-"), INDEX, {"manifests": [soci]})
    found = checks(f"{open_registry.address}/team/eta:2", home)
    assert found["architecture"].detail.startswith("linux/amd64, linux/arm64")
    assert "it has a SOCI index" in found["size"].detail
    by_digest = checks(f"{open_registry.address}/team/eta@{two['digest']}", home)
    assert by_digest["architecture"].detail.startswith("linux/arm64")


def basic(headers: dict[str, str] | None = None) -> dict[str, str]:
    opener = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
    return {**(headers or {}), "Authorization": f"Basic {opener}"}


def test_a_registry_with_a_password(home: Path) -> None:
    """Without credentials the message says how to log in; with them all is read, and they are in no output."""
    registries.require_registry()
    with registries.registry(home, registries.basic(home)) as address:
        Publisher(address, lambda _: basic()).image("team/eta:2", PYTHON)
        refused = checks(f"{address}/team/eta:2", home)["image"]
        assert refused.verdict is Verdict.FAILED
        assert f"docker login {address}" in refused.detail
        (home / ".docker").mkdir()
        entry = {"auth": basic()["Authorization"].removeprefix("Basic ")}
        (home / ".docker/config.json").write_text(json.dumps({"auths": {address: entry}}))
        found = checks(f"{address}/team/eta:2", home)
    assert verdicts(found) == {}
    assert registries.PASSWORD not in str(found)


@pytest.mark.parametrize("kind", ["password", "identity token", "helper"])
def test_a_registry_with_tokens(home: Path, kind: str) -> None:
    """As the registries of the clouds have it: a password is exchanged for a token that may read one repository."""
    registries.require_registry()
    server = registries.TokenServer(home)
    scope = "repository:team/eta:pull,push"
    try:
        with registries.registry(home, server.settings) as address:
            Publisher(address, lambda _: {"Authorization": f"Bearer {server.token([scope])}"}).image(
                "team/eta:2", PYTHON
            )
            assert checks(f"{address}/team/eta:2", home)["image"].verdict is Verdict.FAILED
            _log_in(home, address, kind)
            found = checks(f"{address}/team/eta:2", home)
    finally:
        server.close()
    assert verdicts(found) == {}


def _log_in(home: Path, address: str, kind: str) -> None:
    auth = basic()["Authorization"].removeprefix("Basic ")
    contents: dict[str, dict[str, Any]] = {
        "password": {"auths": {address: {"auth": auth}}},
        "identity token": {"auths": {address: {"identitytoken": registries.IDENTITY}}},
        "helper": {"credsStore": "of-tests", "auths": {address: {}}},
    }
    (home / "containers").mkdir()
    (home / "containers/auth.json").write_text(json.dumps(contents[kind]))
    helper = home / "bin/docker-credential-of-tests"
    helper.parent.mkdir()
    answer = json.dumps({"Username": registries.USER, "Secret": registries.PASSWORD})
    helper.write_text(f"#!/bin/sh\nread -r server\n[ \"$server\" = {address} ] && echo '{answer}'\n")
    helper.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{registry}/team/nothing:1", "has no such image: is it pushed, and spelt so?"),
        ("127.0.0.1:{closed}/team/eta:1", "127.0.0.1:{closed} cannot be reached"),
        ("Team/ETA:1", "is no name of an image"),
        ("team/eta:", "is no name of an image"),
        ("team/eta@sha256:12", "is no name of an image"),
    ],
)
def test_an_image_that_cannot_be_looked_at(
    open_registry: Publisher, home: Path, closed_port: int, name: str, words: str
) -> None:
    """A wrong name, an image that is not there, and a registry that is away are three things."""
    found = checks(name.format(registry=open_registry.address, closed=closed_port), home)
    assert [(check.name, check.verdict) for check in found.values()] == [("image", Verdict.FAILED)]
    assert words.format(closed=closed_port) in found["image"].detail


def test_damaged_credentials(home: Path) -> None:
    """A file that somebody has edited is named."""
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text("{")
    registries.require_registry()
    with registries.registry(home, registries.basic(home)) as address:
        assert ".docker/config.json" in checks(f"{address}/team/eta:2", home)["image"].detail


@pytest.mark.parametrize(
    ("name", "registry", "repository", "version"),
    [
        ("eta", "docker.io", "library/eta", "latest"),
        ("team/eta:2", "docker.io", "team/eta", "2"),
        ("localhost/eta:2", "localhost", "eta", "2"),
        ("registry.example:5000/a/b", "registry.example:5000", "a/b", "latest"),
        (f"registry.example/a:2@sha256:{'0' * 64}", "registry.example", "a", f"sha256:{'0' * 64}"),
    ],
)
def test_names(name: str, registry: str, repository: str, version: str) -> None:
    """As engines read them."""
    parsed = parse_reference(name)
    assert (parsed.registry, parsed.repository, parsed.version) == (registry, repository, version)


def test_what_a_later_layer_removes_is_gone() -> None:
    """An image that deletes its Python has none, however many layers hold one."""
    for removed in ("usr/bin/.wh.python3", "usr/bin/.wh..wh..opq", "usr/.wh.bin"):
        stack = [(LAYER, io.BytesIO(layer(files))) for files in (PYTHON, {removed: None})]
        assert contents_of(stack, ()).python is None


def test_an_engine_that_has_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on this machine is tried, and nobody is asked over the network."""
    engine = images.require_engine()
    monkeypatch.setattr("lyftlearn.ops.images.engine.ENGINES", (engine.program,))
    name = images.python_image(engine)
    found = checks(name, home)
    assert verdicts(found) == {}
    assert "on this machine" in found["image"].detail
    empty = f"localhost/lyftlearn-test/empty:{home.name.lower()}"
    images.import_image(engine, empty, {"/etc/nothing": b"in it"})
    try:
        assert verdicts(checks(empty, home)) == NOTHING
    finally:
        subprocess.run([engine.program, "rmi", empty], check=True, capture_output=True)
