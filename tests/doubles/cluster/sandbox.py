"""The namespaces of a container: a root of its own, its volumes in it, and a limit to its memory."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.containers import lyftlearn_roots
from tests.doubles.cluster.store import Object

if TYPE_CHECKING:
    from tests.doubles.cluster.kubelet import Node

OWN = ("/dev", "/proc", "/lyftlearn")
EMPTY = ("/root", "/run", "/tmp", "/var")
DEFAULT_SHARED_MEMORY = 64 << 20
CAPABILITIES = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service"),
    *("net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
"""What containerd leaves a container that starts as root: `defaultUnixCaps` in its oci/spec.go."""
PREPARATION = ("bwrap", "dash", "bash", "sh", "setpriv")
SUFFIXES = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "m": 1e-3, "": 1}
Lookup = Callable[[str, str], "Object | None"]


class NotMounted(Exception):
    """A volume cannot be had yet."""


def number(quantity: str) -> float:
    match = re.fullmatch(r"([0-9.]+)(Ki|Mi|Gi|m|)", quantity)
    assert match, quantity
    return float(match[1]) * SUFFIXES[match[2]]


class Volumes:
    """A pod's volumes as directories of this machine."""

    def __init__(self, pod: Object, directory: Path, claims: Path, lookup: Lookup, node: Node) -> None:
        self._claims = claims
        self._pod = pod
        self._node = node
        self._directory = directory
        self._lookup = lookup
        self._sources = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        self._made: dict[str, Path] = {}
        self._group: int | None = pod["spec"].get("securityContext", {}).get("fsGroup")

    def prepare(self) -> None:
        for name, volume in self._sources.items():
            if name not in self._made:
                self._made[name] = self._make(name, volume)

    def arguments(self, mount: Object) -> list[str]:
        """What mounts one volume into a container."""
        volume, path = self._sources[mount["name"]], mount["mountPath"]
        if (volume.get("emptyDir") or {}).get("medium") == "Memory":
            size = volume["emptyDir"].get("sizeLimit")
            return [*(["--size", str(int(number(size)))] if size else []), "--perms", "2777", "--tmpfs", path]
        shown = self._made[mount["name"]] / mount.get("subPath", "")
        shown.mkdir(parents=True, exist_ok=True) if mount.get("subPath") else None  # as the kubelet does
        return ["--ro-bind" if mount.get("readOnly") else "--bind", str(shown), path]

    def _make(self, name: str, volume: Object) -> Path:
        path = self._directory / name
        if "hostPath" in volume:
            return _on_node(name, volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            return self._claimed(volume["persistentVolumeClaim"]["claimName"])
        if "nfs" in volume:
            return self._exported(name, volume["nfs"])
        content = self._content(volume)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        for file, data in content.items():
            (path / file).write_bytes(data)
            (path / file).chmod(volume.get("secret", {}).get("defaultMode", 0o644))
        give_to_group(path, self._group, to_write="emptyDir" in volume)
        return path

    def _claimed(self, name: str) -> Path:
        """What a claim is bound to outlives every pod."""
        path = self._node.claims.get(name)
        if path is None:
            path = self._claims / self._find("persistentvolumeclaims", name)["metadata"]["uid"]
            path.mkdir(parents=True, exist_ok=True)
        if self._group is not None and path.stat().st_gid != self._group:  # fsGroupChangePolicy: OnRootMismatch
            give_to_group(path, self._group, to_write=True)
        return path

    def _exported(self, name: str, source: Object) -> Path:
        found = self._node.exports.get((source["server"], source["path"]))
        if found is None:
            words = f"mount.nfs: access denied by server while mounting {source['server']}:{source['path']}"
            raise NotMounted(f'MountVolume.SetUp failed for volume "{name}" : mount failed: exit status 32 {words}')
        return found

    def _content(self, volume: Object) -> dict[str, bytes]:
        if "configMap" in volume:
            config_map = self._find("configmaps", volume["configMap"]["name"])
            return {key: base64.b64decode(value) for key, value in config_map["binaryData"].items()}
        if "secret" in volume:
            source = volume["secret"]
            found = self._lookup("secrets", source["secretName"])
            if found is None and not source.get("optional"):
                raise NotMounted(
                    f'MountVolume.SetUp failed for volume "{volume["name"]}": secret "{source["secretName"]}" not found'
                )
            return {key: base64.b64decode(value) for key, value in (found or {}).get("data", {}).items()}
        items = (volume.get("downwardAPI") or {}).get("items", ())
        return {item["path"]: self._field(item["fieldRef"]["fieldPath"]).encode() for item in items}

    def _find(self, kind: str, name: str) -> Object:
        found = self._lookup(kind, name)
        if found is None:
            raise NotMounted(f'MountVolume.SetUp failed: {kind[:-1]} "{name}" not found')
        return found

    def _field(self, path: str) -> str:
        match = re.fullmatch(r"metadata\.annotations\['(.+)'\]", path)
        assert match, path
        value: str = self._pod["metadata"]["annotations"][match[1]]
        return value


def _on_node(name: str, source: Object) -> Path:
    """A directory of the node: looked at where the pod says what it is, else made where it is missing."""
    path = Path(source["path"])
    if source.get("type") == "Directory" and not path.is_dir():
        words = f"hostPath type check failed: {path} is not a directory"
        raise NotMounted(f'MountVolume.SetUp failed for volume "{name}" : {words}')
    path.mkdir(parents=True, exist_ok=True)
    return path


def give_to_group(top: Path, group: int | None, *, to_write: bool) -> None:
    """As the kubelet does for an fsGroup with volumes that are the pod's, and never with a node's directory or NFS.

    Source: `changeFilePermission` in Kubernetes' pkg/volume/volume_linux.go.
    """
    if group is None or not enforces_users():
        return
    for path in (top, *top.rglob("*")):
        os.chown(path, -1, group, follow_symlinks=False)
        mask = 0o660 if to_write else 0o440
        if path.is_dir():
            mask |= 0o110 | stat.S_ISGID
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | mask)


def enforces_users() -> bool:
    """Whether pods run as their real users here: only root may give files and processes to others."""
    return os.geteuid() == 0


def command(
    container: Object, pod: Object, volumes: Volumes, files: dict[str, Path], info: int, *, has_network: bool = False
) -> list[str]:
    """The command line that runs a container. files: from this machine's to the container's, such as /etc/hosts.

    has_network: whether it is started in a network of its own.
    """
    mounts = container.get("volumeMounts", ())
    argv = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1"]
    if container.get("ports") and not has_network:
        argv.append("--unshare-net")  # a network of the pod's own, which leads nowhere: pods may all have one port
    argv += ["--hostname", pod["spec"].get("hostname") or pod["metadata"]["name"][:63], "--info-fd", str(info)]
    argv += ["--tmpfs", "/", *_machine(), *_parents([*(mount["mountPath"] for mount in mounts), *files])]
    argv += ["--dev", "/dev", "--proc", "/proc"]
    if not any(mount["mountPath"] == "/dev/shm" for mount in mounts):
        argv += ["--size", str(DEFAULT_SHARED_MEMORY), "--perms", "1777", "--tmpfs", "/dev/shm"]
    for mount in sorted(mounts, key=lambda mount: mount["mountPath"]):
        argv += volumes.arguments(mount)
    for inside, outside in files.items():
        argv += ["--bind", str(outside), inside]
    started = [*container["command"], *container.get("args", ())]
    security = pod["spec"].get("securityContext", {})
    if enforces_users():
        started = [*_hand_over(mounts, pod), *as_user(pod, started)]
    elif security.get("runAsUser"):
        argv += ["--unshare-user", "--uid", str(security["runAsUser"]), "--gid", str(security["runAsGroup"])]
    return [*argv, "--chdir", "/", "--", *started]


def as_user(pod: Object, argv: list[str]) -> list[str]:
    """The command line that runs `argv` as the pod's user, in its groups and with a container's capabilities."""
    if not enforces_users():
        return argv
    security = pod["spec"].get("securityContext", {})
    user, group = security.get("runAsUser", 0), security.get("runAsGroup", 0)
    groups = ",".join(str(number) for number in (group, security.get("fsGroup", group)))
    left = () if user else (f"+{name}" for name in CAPABILITIES)  # with `user` the manifests drop all
    program = shutil.which("setpriv")
    assert program is not None
    return [
        *(program, f"--reuid={user}", f"--regid={group}", f"--groups={groups}", "--inh-caps=-all"),
        *(f"--bounding-set={','.join(('-all', *left))}", "--pdeathsig=keep", "--", *argv),
    ]


def _hand_over(mounts: Sequence[Object], pod: Object) -> list[str]:
    """What gives memory volumes to the pod's fsGroup before the container's command: bubblewrap makes them root's."""
    group = pod["spec"].get("securityContext", {}).get("fsGroup")
    volumes = {volume["name"]: volume.get("emptyDir") or {} for volume in pod["spec"].get("volumes", ())}
    paths = [mount["mountPath"] for mount in mounts if volumes[mount["name"]].get("medium") == "Memory"]
    if group is None or not paths:
        return []
    script = f'for path in {" ".join(paths)}; do chgrp {group} $path; chmod g+s $path; done; exec "$@"'
    return ["/bin/sh", "-c", script, "sh"]


def has_started(pid: int) -> bool:
    """Whether the container runs its command, and no longer bubblewrap's preparations."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name not in PREPARATION
    return False


def inside(pid: int, argv: list[str]) -> list[str]:
    """The command line that runs `argv` in the namespaces of the container whose first process is `pid`."""
    user = ["--user", "--preserve-credentials"] if _namespace(pid) != _namespace(os.getpid()) else []
    return ["nsenter", f"--target={pid}", *user, "--mount", "--pid", "--ipc", "--uts", "--", *argv]


def in_network(pid: int, argv: list[str]) -> list[str]:
    """The command line that runs `argv` in the network of the container whose first process is `pid`."""
    return ["nsenter", f"--target={pid}", "--net", "--", *argv]


def _namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/user").readlink()


def _machine() -> list[str]:
    argv: list[str] = []
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir() and str(path) not in (*OWN, *EMPTY):
            argv += ["--ro-bind-try", str(path), str(path)]
    for empty in EMPTY:
        argv += ["--perms", "1777", "--tmpfs", empty]
    everywhere = (sys.base_prefix, sys.prefix, *map(str, lyftlearn_roots()))  # wherever the checkout is
    argv += _parents(everywhere)
    for shown in everywhere:
        argv += ["--ro-bind", shown, shown]
    return argv


def _parents(paths: Iterable[str]) -> list[str]:
    """What makes the directories above `paths` as a runtime does; bubblewrap's own would be root's alone."""
    above = {str(parent) for path in paths for parent in Path(path).parents[:-1]}
    return [word for path in sorted(above) for word in ("--perms", "0755", "--dir", path)]


class MemoryLimit:
    """A control group, version 1 or 2, where this process may make one; else nothing is limited."""

    def __init__(self, limit: int) -> None:
        self._path = _parent() / f"lyftlearn-test-{secrets.token_hex(6)}"
        self.path: Path | None = self._path
        try:
            self._path.mkdir()
            for name in ("memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
                if (self._path / name).exists():
                    (self._path / name).write_text(str(limit))
        except OSError:
            self.path = None

    def wrap(self, argv: list[str]) -> list[str]:
        if self.path is None:
            return argv
        return ["/bin/sh", "-c", 'echo 0 > "$1" && shift && exec "$@"', "sh", str(self.path / "cgroup.procs"), *argv]

    def has_killed(self) -> bool:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                counts = dict(line.split() for line in (self._path / name).read_text().splitlines())
                return int(counts.get("oom_kill", "0")) > 0
        return False

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.rmdir()


def _parent() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        if not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return Path("/sys/fs/cgroup")
    return Path("/nonexistent")


def child_pid(info: int) -> int:
    """The pid that bubblewrap tells of what it runs."""
    with os.fdopen(info, "rb") as file:
        found: int = json.loads(file.read() or b"{}").get("child-pid", 0)
    return found
