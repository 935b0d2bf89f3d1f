"""One node's container: its image, its end, and what is left of it when a supervisor was killed."""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STORE_LABEL = "lyftlearn.store"
PYTHON = "python3"
_PREFIX = "lyftlearn-"
_PATIENCE = 60.0
"""Seconds that an engine has for one small question."""
_USER_PROBE = "import json, os; print(json.dumps([os.getuid(), os.getgid()]))"


class Container:
    """The container of a job's node, which may exist or not."""

    def __init__(self, job: Path, rank: int, settings: dict[str, Any]) -> None:
        self.engine: dict[str, Any] = settings["engine"]
        self.settings = settings
        self.image: str = settings["image"]
        self.job = job
        self.name = f"{_PREFIX}{job.name}-{rank}-{zlib.crc32(os.fsencode(job)):08x}"

    def image_settings(self) -> dict[str, Any] | None:
        """Return what the image says of itself; None where this machine has not got it."""
        answer = self._ask("image", "inspect", "--format", "{{json .Config}}", self.image)
        if answer.returncode:
            return None
        content: dict[str, Any] = json.loads(answer.stdout) or {}
        return content

    @property
    def pull_command(self) -> list[str]:
        """What fetches the image."""
        return [self.engine["program"], "pull", "--quiet", self.image]

    def own_user(self) -> tuple[int, int]:
        """Return uid and gid of the image's own user, which it may name by a word that it alone explains."""
        marks = ["--name", self.name, "--label", f"{STORE_LABEL}={self.job.parent.parent}"]
        program = ["--entrypoint", PYTHON, self.image, "-I", "-S", "-c", _USER_PROBE]
        answer = self._ask("run", "--rm", *marks, "--pull", "never", "--network", "none", *program)
        try:
            uid, gid = json.loads(answer.stdout)
        except ValueError:
            self.remove()  # it may hang; the start itself will say what is wrong
            return 0, 0
        return uid, gid

    @property
    def variables(self) -> dict[str, str]:
        """What the engine's own program needs."""
        named: dict[str, str] = self.engine["environment"]
        return named

    def has_killed(self) -> bool:
        """Whether the kernel ended it for want of memory."""
        answer = self._ask("inspect", "--type", "container", "--format", "{{.State.OOMKilled}}", self.name)
        return answer.stdout.strip() == b"true"

    def terminate(self) -> None:
        """Ask what runs in it to end, if it runs already."""
        self._ask("kill", "--signal", "TERM", self.name)

    def kill(self) -> None:
        """End whatever runs in it."""
        self._ask("kill", "--signal", "KILL", self.name)

    def remove(self) -> None:
        """End it if it still runs, and leave nothing of it."""
        remove(self.engine, self.name)

    def _ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return ask(self.engine, *words)


def ask(engine: dict[str, Any], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Return what the engine answers; one that cannot be run answers with an exit code, too."""
    command = [engine["program"], *words]
    try:
        return subprocess.run(
            command,
            env=engine["environment"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 125, b"", str(error).encode())


def remove(engine: dict[str, Any], *names: str) -> None:
    """Remove containers by name, whether they run or not, or are not there."""
    at_once = ("--time", "0") if engine["kind"] == "podman" else ()
    ask(engine, "rm", "--force", "--volumes", *at_once, *names)


def names_in(store: Path, engine: dict[str, Any]) -> list[str]:
    """Return the names of all containers of a store's jobs."""
    listed = ask(engine, "ps", "--all", "--filter", f"label={STORE_LABEL}={store}", "--format", "{{.Names}}")
    return listed.stdout.decode().split()


def job_id_of(name: str) -> str:
    """Return the id of the job that a container of this name belongs to."""
    return name.removeprefix(_PREFIX).rsplit("-", 2)[0]


def names_of(job: Path, run: dict[str, Any]) -> list[str]:
    """Return the names of a job's containers, there or not."""
    return [Container(job, rank, run["container"]).name for rank in range(run["nodes"])]
