"""A job's nodes: each a process in namespaces of its own, with what SageMaker gives a training container."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.containers import lyftlearn_roots

from .resources import has_plan

if TYPE_CHECKING:
    from . import Conduct
    from .surroundings import Surroundings

_PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As in the image of the tests' cluster."""
_SYNC_EVERY = 0.5
"""Seconds between two copies of new checkpoints to S3."""
_LONGEST_LINE = 250_000  # bytes; CloudWatch takes 256 KiB with its own 26
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_HIDDEN = ("dev", "proc", "opt", "lyftlearn", "tmp")


@dataclass
class Ended:
    """How the first node to fail ended, or all of them."""

    code: int
    failure: str
    lines: list[str]
    stopped: bool
    timed_out: bool


@dataclass
class _Node:
    host: str
    home: Path
    process: subprocess.Popen[bytes]
    pid: int
    reader: threading.Thread | None = None
    lines: list[str] = field(default_factory=list)


class Containers:
    """The nodes of one job."""

    def __init__(self, request: dict[str, Any], home: Path, around: Surroundings, conduct: Conduct) -> None:
        self._request = request
        self._home = home
        self._around = around
        self._grace = conduct.grace
        self._block_expires = conduct.block_expires
        self._search_path = conduct.search_paths.get(request["AlgorithmSpecification"].get("TrainingImage", ""), _PATH)
        self._hosts = [f"algo-{number}" for number in range(1, request["ResourceConfig"]["InstanceCount"] + 1)]
        job = hashlib.sha256(request["TrainingJobName"].encode()).digest()
        self._network = f"127.{1 + job[0] % 254}.{job[1]}"  # of its own, since all share this machine's ports
        self._nodes: list[_Node] = []
        self._lock = threading.Lock()
        self._killed = False
        self._failed: _Node | None = None

    def run(self, stopping: threading.Event) -> Ended:
        """Run every node to the job's end."""
        homes = {host: self._prepare(host) for host in self._hosts}
        deadline = time.monotonic() + self._request["StoppingCondition"]["MaxRuntimeInSeconds"]
        with self._lock:
            if not self._killed:
                self._nodes = [self._start(host, home) for host, home in homes.items()]
        with self._around.copied_checkpoints(self._request, homes[self._hosts[0]], _SYNC_EVERY):
            stopped, timed_out = self._wait(stopping, deadline)
        self._close()
        self._around.save_checkpoints(self._request, homes[self._hosts[0]])
        node = self._failed or (self._nodes[0] if self._nodes else None)
        lines = [line for node in self._nodes for line in node.lines]
        code = node.process.returncode if node else 137
        return Ended(code if code >= 0 else 128 - code, _failure(node), lines, stopped, timed_out)

    def kill(self) -> None:
        """Take the machines away."""
        with self._lock:
            self._killed = True
            for node in self._nodes:
                _signal(node, signal.SIGKILL)

    def _wait(self, stopping: threading.Event, deadline: float) -> tuple[bool, bool]:
        """Wait until all nodes have ended, one has failed, or the job is to end; then end the others."""
        while any(node.process.poll() is None for node in self._nodes):
            self._failed = next((node for node in self._nodes if node.process.poll()), None)
            if self._failed:
                self._terminate(2.0)
                return False, False
            if stopping.is_set() or time.monotonic() > deadline:
                self._terminate(self._grace)
                return stopping.is_set(), not stopping.is_set()
            stopping.wait(0.02)
        self._failed = next((node for node in self._nodes if node.process.returncode), None)
        return False, False

    def _terminate(self, grace: float) -> None:
        for node in self._nodes:
            _signal(node, signal.SIGTERM)
        end = time.monotonic() + grace
        while any(node.process.poll() is None for node in self._nodes) and time.monotonic() < end:
            time.sleep(0.02)
        for node in self._nodes:
            _signal(node, signal.SIGKILL)
            node.process.wait()

    def _close(self) -> None:
        for node in self._nodes:
            if node.reader:
                node.reader.join()

    def _prepare(self, host: str) -> Path:
        """Lay out `/opt/ml` of one node."""
        home = self._home / host
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "output" / "failure").unlink(missing_ok=True)
        configuration = {
            "hyperparameters": self._request.get("HyperParameters", {}),
            "resourceconfig": {"current_host": host, "hosts": self._hosts, "network_interface_name": "lo"},
            "inputdataconfig": {
                channel["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
                for channel in self._request.get("InputDataConfig", [])
            },
        }
        for name, content in configuration.items():
            (home / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
        for channel in self._request.get("InputDataConfig", []):
            if "S3DataSource" in channel["DataSource"]:
                place = channel["DataSource"]["S3DataSource"]["S3Uri"]
                self._around.download(place, home / "input" / "data" / channel["ChannelName"])
        self._around.restore_checkpoints(self._request, home)
        return home

    def _start(self, host: str, home: Path) -> _Node:
        hosts = home.parent / "hosts"
        named = "".join(f"{self._network}.{n} algo-{n}\n" for n in range(1, len(self._hosts) + 1))
        hosts.write_text(f"127.0.0.1 localhost\n{named}")
        told, telling = os.pipe()
        command = [
            *_sandbox(host, home, hosts, telling, self._mounted_channels()),
            *("sh", "-c", 'exec "$@"', "sh"),  # which ends with 126 or 127, as a container does that cannot start
            *self._request["AlgorithmSpecification"]["ContainerEntrypoint"],
        ]
        process = subprocess.Popen(
            command,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(telling,),
            start_new_session=True,
        )
        os.close(telling)
        node = _Node(host, home, process, _pid(told))
        assert process.stdout
        node.reader = threading.Thread(target=self._read, args=(node, process.stdout), daemon=True)
        node.reader.start()
        return node

    def _mounted_channels(self) -> list[str]:
        """Bubblewrap's arguments for the channels that are directories of file systems."""
        argv: list[str] = []
        for channel in self._request.get("InputDataConfig", []):
            source = channel["DataSource"].get("FileSystemDataSource")
            if source:
                option = "--bind" if source["FileSystemAccessMode"] == "rw" else "--ro-bind"
                argv += [option, str(self._around.mounted(source)), f"/opt/ml/input/data/{channel['ChannelName']}"]
        return argv

    def _variables(self) -> dict[str, str]:
        name = self._request["TrainingJobName"]
        own = {
            "PATH": self._search_path,
            "TRAINING_JOB_NAME": name,
            "TRAINING_JOB_ARN": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "the-secret-key-of-nobody",
            "AWS_ENDPOINT_URL": self._around.aws,
            "AWS_ENDPOINT_URL_SAGEMAKER": self._around.sagemaker,
            "AWS_ENDPOINT_URL_BATCH": self._around.sagemaker,
        }
        if self._block_expires is not None and has_plan(self._request["ResourceConfig"]):
            own["SAGEMAKER_CURRENT_CAPACITY_BLOCK_EXPIRATION_TIMESTAMP"] = str(int(self._block_expires * 1000))
        environment: dict[str, str] = self._request.get("Environment", {})
        return own | environment

    def _read(self, node: _Node, stream: IO[bytes]) -> None:
        log = self._around.log(f"{self._request['TrainingJobName']}/{node.host}-{int(time.time() * 1000)}")
        for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
            text = _escape(line.removesuffix(b"\n")).decode("utf-8", "replace")
            node.lines.append(text)
            if text:  # CloudWatch takes no empty message
                log.put(text)
        log.close()
        stream.close()


def _escape(line: bytes) -> bytes:
    """Write control characters as syslog does: a TAB is `#011`, as AWS's own patterns for XGBoost's metrics have it."""
    return _CONTROL.sub(lambda match: b"#%03o" % match[0][0], line)


def _sandbox(host: str, home: Path, hosts: Path, telling: int, channels: list[str]) -> list[str]:
    """Return bubblewrap's arguments: this machine's files, and the job's own where a container has its own."""
    binds = []
    for path in sorted(Path("/").iterdir()):
        if path.name not in _HIDDEN:
            same = ["--bind-try", str(path)]
            binds += [*(["--symlink", str(path.readlink())] if path.is_symlink() else same), str(path)]
    shown = (sys.base_prefix, sys.prefix, *map(str, lyftlearn_roots()))
    python = [word for path in shown for word in ("--ro-bind", path, path)]
    user = [] if os.geteuid() == 0 else ["--unshare-user", "--uid", "0", "--gid", "0"]
    return [
        "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", host, *user,
        "--as-pid-1", "--info-fd", str(telling), "--tmpfs", "/", *binds, "--dev-bind", "/dev", "/dev",
        "--perms", "1777", "--tmpfs", "/dev/shm", "--proc", "/proc", "--tmpfs", "/tmp",
        *python, "--bind", str(home), "/opt/ml", *channels,
        "--ro-bind", str(hosts), "/etc/hosts", "--chdir", "/", "--",
    ]  # fmt: skip


def _pid(told: int) -> int:
    with os.fdopen(told, "rb") as file:
        text = file.read()
    return int(json.loads(text)["child-pid"]) if text else 0


def _signal(node: _Node, number: int) -> None:
    """Signal the container's first process; bubblewrap ends with it."""
    if node.process.poll() is None and node.pid:
        try:
            os.kill(node.pid, number)
        except ProcessLookupError:
            return


def _failure(node: _Node | None) -> str:
    path = node.home / "output" / "failure" if node else None
    return path.read_text(encoding="utf-8", errors="replace")[:1024] if path and path.exists() else ""
