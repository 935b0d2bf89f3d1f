"""An image that podman or docker has on this machine: started once, to see what a job would find."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from typing import Any

from lyftlearn.ops.images.facts import ImageContents, ImageFacts, ImageUnreadable, Lookup

ENGINES = ("podman", "docker")
PATIENCE = 60.0
"""Seconds for each question."""
_PROBE = """
import importlib.util, json, os, sys
has_boto3 = importlib.util.find_spec("boto3") is not None
print(json.dumps([list(sys.version_info[:2]), has_boto3, os.path.exists("/bin/sh")]))
"""
_CANNOT_EXECUTE = (126, 127)


def look_with_engine(name: str, lookup: Lookup) -> ImageFacts | None:
    """Return what the first engine says that has the image; None if no engine has it."""
    for engine in ENGINES:
        program = shutil.which(engine)
        found = _inspect(program, name) if program else None
        if program and found is not None:
            look = partial(_facts, program, engine, name, found)
            return lookup.kept.facts(f"{engine} {found['Id']}", look)
    return None


def _inspect(program: str, name: str) -> dict[str, Any] | None:
    answer = _ask(program, "image", "inspect", name)
    return dict(json.loads(answer.stdout)[0]) if answer.returncode == 0 else None


def _facts(program: str, engine: str, name: str, found: dict[str, Any]) -> ImageFacts:
    config = found.get("Config") or {}
    return ImageFacts(
        origin=f"{engine} on this machine",
        platforms=(f"{found['Os']}/{found['Architecture']}",),
        user=config.get("User") or "",
        entrypoint=tuple(config.get("Entrypoint") or ()),
        size=int(found.get("Size") or 0),
        contents=_contents(program, name),
    )


def _contents(program: str, name: str) -> ImageContents:
    ran = _start(program, name, "python3", "-c", _PROBE)
    if ran.returncode == 0:
        version, has_boto3, has_shell = json.loads(ran.stdout)
        return ImageContents(tuple(version), has_boto3, has_shell)
    words = ran.stderr.decode("utf-8", "replace").strip()
    if ran.returncode not in _CANNOT_EXECUTE:
        raise ImageUnreadable(f"a container of it cannot be started: {words[-300:]}")
    has_shell = _start(program, name, "/bin/sh", "-c", ":").returncode == 0
    return ImageContents(None, has_boto3=False, has_shell=has_shell)


def _start(program: str, name: str, entrypoint: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    options = ("--rm", "--pull", "never", "--network", "none", "--user", "0:0", "--entrypoint", entrypoint)
    return _ask(program, "run", *options, name, *words)


def _ask(program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [program, *words]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 125, b"", str(error).encode())
