"""The container engine of this machine: podman or docker, whichever is there and answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGINES = ("podman", "docker")
PROBE_SECONDS = 60
REMEDY = "install podman (`apt-get install podman`), or start the daemon of docker"
_OF_THIS_MACHINE = ("unix://", "npipe://", "/")
_ADDRESSES = ("DOCKER_HOST", "CONTAINER_HOST")
_OF_ITS_USER = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS")
_NEEDED = ("PATH", "HOME", "TMPDIR", *_OF_ITS_USER)
_ITS_OWN = (
    *_ADDRESSES,
    *("DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"),
    *("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "REGISTRY_AUTH_FILE"),
)


@dataclass(frozen=True)
class Engine:
    """An engine that answers. kind: of its command line. rootless: whether root in a container is its caller.

    log_driver: with which the engine keeps no log of its own.
    """

    kind: str
    program: str
    rootless: bool
    limits_memory: bool
    log_driver: str = "none"

    def settings(self) -> dict[str, Any]:
        """Return what a supervisor needs in order to use it, later and in another environment."""
        named = {name: os.environ[name] for name in (*_NEEDED, *_ITS_OWN) if name in os.environ}
        own = {"kind": self.kind, "program": self.program, "rootless": self.rootless, "log_driver": self.log_driver}
        return {**own, "environment": named}


def variables() -> dict[str, str]:
    """Return what leads a process with another HOME to this user's engine, its images and its logins."""
    home = Path(os.environ.get("HOME", "/"))
    places = {"XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share", "DOCKER_CONFIG": ".docker"}
    found = {name: str(home / place) for name, place in places.items() if (home / place).is_dir()}
    return found | {name: os.environ[name] for name in (*_OF_ITS_USER, *_ITS_OWN) if name in os.environ}


def find_engine(choice: str) -> Engine | str:
    """Return the engine that `[local] containers` chooses, or why there is none."""
    if choice == "never":
        return 'switched off by containers = "never"'
    reasons = []
    for name in ENGINES if choice == "auto" else (choice,):
        engine = _probe(name)
        if isinstance(engine, Engine):
            return engine
        reasons.append(engine)
    return f"{'; '.join(reasons)}: {REMEDY}"


def _probe(name: str) -> Engine | str:
    program = shutil.which(name)
    if program is None:
        return f"{name} is not installed"
    for variable in _ADDRESSES:
        address = os.environ.get(variable, "")
        if address and not address.startswith(_OF_THIS_MACHINE):
            return f"{name} would run it on another machine ({variable}), which has not this machine's files"
    # `version` is cheaper, and knows neither whose root a container's is, nor control groups, nor the daemon's limits.
    command = [program, "info", "--format", "{{json .}}"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name} cannot be run ({error})"
    return _engine(program, name, tried)


def _engine(program: str, name: str, tried: subprocess.CompletedProcess[bytes]) -> Engine | str:
    try:
        info = json.loads(tried.stdout)
    except ValueError:
        info = {}
    if isinstance(info.get("host"), Mapping):
        return _podman(program, info["host"], str((info.get("version") or {}).get("Version")))
    if info.get("ServerVersion"):
        rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
        return Engine("docker", program, rootless, bool(info.get("MemoryLimit")))
    faults = " ".join([*(info.get("ServerErrors") or ()), tried.stderr.decode("utf-8", "replace")]).strip()
    return f"{name} does not answer ({faults[:200] or 'it says nothing'})"


def _podman(program: str, host: Mapping[str, Any], version: str) -> Engine:
    """Describe podman. From 4 on a container can have the pipe of its log itself: what podman copies, it may lose.

    Sources: https://github.com/containers/podman/pull/11390, https://github.com/containers/podman/issues/9096.
    """
    rootless = bool(host.get("security", {}).get("rootless"))
    major = version.partition(".")[0]
    driver = "passthrough" if major.isdecimal() and int(major) >= 4 else "none"
    return Engine("podman", program, rootless, "memory" in (host.get("cgroupControllers") or ()), driver)
