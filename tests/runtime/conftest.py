"""The runtime as each substrate starts it, in mount and pid namespaces of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lyftlearn._contract.runtime_archive import runtime_archive
from lyftlearn.parity import probe, redaction
from lyftlearn.runtime import s3
from lyftlearn.runtime.tree import remove_tree
from tests.containers import require_containers

UID = 1000
VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "IMAGE_SAYS": "hello"}
DEADLINE = 120
PARENTS = ("/probe", "/var", "/var/run", "/var/run/secrets", "/var/run/secrets/kubernetes.io", "/var/tmp", "/opt")
"""Bubblewrap makes the parents of what it mounts unreadable for others."""
AWS = {
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
JOB = {"id": "fares-tsa1b2c3d4e5f6", "name": "fares", "kind": "train", "model": "fares"}


@dataclass
class Result:
    """What a substrate sees of a container's end."""

    exit_code: int
    output: bytes
    report: str
    directory: Path

    @property
    def facts(self) -> dict[str, Any]:
        """The report's first line."""
        prefix, _, document = self.report.partition("\n")[0].partition(" ")
        assert prefix == "lyftlearn/1"
        return dict(json.loads(document))

    @property
    def last_words(self) -> str:
        """The report after its first line."""
        return self.report.partition("\n")[2]


@dataclass
class Container:
    """One container's directories and variables, before it starts."""

    substrate: str
    directory: Path
    archive: Path
    document: dict[str, Any]
    python: str = sys.executable
    variables: dict[str, str] = field(default_factory=dict)
    binds: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    ml_mounts: list[str] = field(default_factory=list)
    network: bool = False

    @property
    def root(self) -> Path:
        """What is mounted as /lyftlearn where something is."""
        return self.directory / "root"

    @property
    def ml(self) -> Path:
        """What is mounted as /opt/ml on SageMaker."""
        return self.directory / "ml"

    @property
    def artifacts(self) -> Path:
        """Where the platform, or the runtime, keeps what is packed."""
        return self.directory / "kept" / str(JOB["id"]) / "output"

    def run(self) -> Result:
        """Run to the end."""
        process = self.start()
        output, _ = process.communicate(timeout=DEADLINE)
        return self.result(process.returncode, output)

    def start(self) -> subprocess.Popen[bytes]:
        """Start, as the substrate's agent would."""
        require_containers()
        arguments = {"kubernetes": self._kubernetes, "sagemaker": self._sagemaker, "local": self._local}[
            self.substrate
        ]()
        return subprocess.Popen(
            [*self._sandbox(), *arguments, self.python, "-I", "-S", "/probe/runtime.pyz", "run"],
            env={**VARIABLES, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def result(self, exit_code: int, output: bytes) -> Result:
        """Read what was left, and do the platform's packing."""
        if self.substrate == "sagemaker" and exit_code == 0:
            pack_as_sagemaker(self.ml, self.artifacts)
        path = self.ml / "output/failure" if self.substrate == "sagemaker" else self.directory / "report"
        return Result(exit_code, output, path.read_text() if path.exists() else "", self.directory)

    def _sandbox(self) -> list[str]:
        interpreters = {str(Path(sys.base_prefix)), sys.prefix, str(Path(self.python).parent.parent.resolve())}
        shared = ["/bin", "/usr", "/lib", "/lib64", "/etc", "/sys", *sorted(interpreters), *self.binds]
        binds = [word for path in shared if Path(path).exists() for word in ("--ro-bind", path, path)]
        parents = sorted({str(parent) for path in shared for parent in Path(path).parents[:-1]} - set(shared))
        observers = [Path(str(module.__file__)) for module in (probe, redaction)]
        return [
            *("bwrap", "--tmpfs", "/", "--tmpfs", "/tmp"),
            *(word for path in parents for word in ("--perms", "0755", "--dir", path)),
            *(*binds, "--proc", "/proc", "--dev", "/dev", "--dir", "/home"),
            *(() if self.network else ("--unshare-net",)),
            *(
                "--unshare-pid",
                "--unshare-ipc",
                "--as-pid-1",
                "--die-with-parent",
                "--cap-add",
                "ALL",
                "--chdir",
                "/home",
            ),
            *(
                word
                for path in (*PARENTS, str(self.directory.parent), str(self.directory))
                for word in ("--perms", "0755", "--dir", path)
            ),
            *("--ro-bind", str(self.archive), "/probe/runtime.pyz"),
            *(word for path in observers for word in ("--ro-bind", str(path), f"/probe/{path.name}")),
            *("--bind", str(self.directory / "kept"), str(self.directory / "kept"), "--bind", "/dev/shm", "/dev/shm"),
            *self.mounts,
        ]

    def _kubernetes(self) -> list[str]:
        """A pod: a projected bundle, a service account, volumes, uid 1000 from the start, a read-only root."""
        pod = self.directory / "pod"
        _write(pod / "..data/bundle.json", json.dumps(self.document))
        (pod / "bundle.json").symlink_to("..data/bundle.json")
        _write(self.directory / "account/token", "t")
        _write(self.directory / "report", "").chmod(0o666)
        os.chown(self.root, 0, UID)  # as a volume with fsGroup is
        self.root.chmod(0o2777)
        self.variables = {
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "HOSTNAME": "fares-0-abcde",
            **self.variables,
        }
        memory = ["--perms", "1777", "--tmpfs", "/lyftlearn/secrets"]
        return [
            *("--bind", str(self.root), "/lyftlearn", *memory, "--ro-bind", str(pod), "/var/run/lyftlearn"),
            *("--bind", str(self.directory / "report"), "/dev/termination-log"),
            *("--ro-bind", str(self.directory / "account"), "/var/run/secrets/kubernetes.io/serviceaccount"),
            *("--remount-ro", "/", "--", "setpriv", f"--reuid={UID}", f"--regid={UID}", f"--groups={UID}", "--"),
        ]

    def _sagemaker(self) -> list[str]:
        """A training container: root, /opt/ml, its variables; the platform packs."""
        self.document = {"user": {"uid": UID, "gid": UID}, **self.document, "pack": "substrate"}
        _write(self.ml / "input/data/lyftlearn/bundle.json", json.dumps(self.document))
        _write(self.ml / "input/config/hyperparameters.json", "{}")
        nodes = {"current_host": "algo-1", "hosts": ["algo-1"]}
        if not (self.ml / "input/config/resourceconfig.json").exists():
            _write(self.ml / "input/config/resourceconfig.json", json.dumps(nodes))
        for name in ("model", "output/data", "checkpoints"):
            (self.ml / name).mkdir(parents=True, exist_ok=True)
        self.variables = {
            "TRAINING_JOB_NAME": str(JOB["id"]),
            "TRAINING_JOB_ARN": "arn:aws:sagemaker:us-east-1:1:training-job/x",
            "SM_MODEL_DIR": "/opt/ml/model",
            "SAGEMAKER_REGION": "us-east-1",
            "HOSTNAME": "ip-10-0-1-2",
            **self.variables,
        }
        return ["--bind", str(self.root), "/lyftlearn", "--bind", str(self.ml), "/opt/ml", *self.ml_mounts, "--"]

    def _local(self) -> list[str]:
        """This machine: the bundle in a variable, the paths through the mount namespace."""
        _write(self.directory / "bundle.json", json.dumps({"user": {"uid": UID, "gid": UID}, **self.document}))
        self.variables = {
            "LYFTLEARN_SUBSTRATE": "local",
            "LYFTLEARN_BUNDLE": "/state/bundle.json",
            "LYFTLEARN_SUBSTRATE_REPORT": "/state/report",
            "LYFTLEARN_SUBSTRATE_PROGRESS": "/state/progress",
            "HOSTNAME": "laptop",
            **self.variables,
        }
        memory = ["--tmpfs", "/lyftlearn/secrets"]
        return ["--bind", str(self.root), "/lyftlearn", *memory, "--bind", str(self.directory), "/state", "--"]


def pack_as_sagemaker(ml: Path, artifacts: Path) -> None:
    """Tar with the members that the platform takes, in no particular order and with its own owners and times."""
    artifacts.mkdir(parents=True, exist_ok=True)
    for source, name in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
        members = sorted(path.name for path in (ml / source).iterdir())
        if members:
            subprocess.run(["tar", "-C", str(ml / source), "-czf", str(artifacts / name), "--", *members], check=True)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime, built once."""
    return runtime_archive(tmp_path_factory.mktemp("runtime"))


class Containers:
    """Makes containers in a directory of their own, which is gone after the test."""

    def __init__(self, directory: Path, archive: Path) -> None:
        self.directory = directory
        self._archive = archive
        self._count = 0

    def make(self, substrate: str, command: list[str], python: str = sys.executable, **fields: Any) -> Container:
        """A container of `substrate` that will run `command`; `fields` go into the bundle."""
        self._count += 1
        directory = self.directory / f"{substrate}-{self._count}"
        for name in ("root", "kept", "ml"):
            (directory / name).mkdir(parents=True)
        base = {"contract": 1, "job": JOB, "command": command, "output_uri": ""}
        container = Container(substrate, directory, self._archive, {**base, **fields}, python)
        container.document["output_uri"] = str(container.artifacts)
        (directory / "kept").chmod(0o777)
        return container


@pytest.fixture
def containers(archive: Path) -> Iterator[Containers]:
    """A place that uid 1000 may enter, which pytest's own temporary directories are not."""
    directory = Path("/var/tmp") / f"lyftlearn-runtime-{os.getpid()}-{os.urandom(4).hex()}"
    directory.mkdir(mode=0o755)
    yield Containers(directory, archive)
    remove_tree(directory)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """AWS on a loopback socket."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, and what a runtime needs to reach it."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    s3._clients.clear()
    name = f"b-{os.urandom(4).hex()}"
    resource = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1")
    yield resource.create_bucket(Bucket=name)
    s3._clients.clear()
