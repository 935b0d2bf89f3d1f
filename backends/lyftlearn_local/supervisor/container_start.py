"""A node in its image: the engine's command, and what it shows of this machine."""

from __future__ import annotations

import json
import os
import subprocess

from lyftlearn_local.containers.container import PYTHON, STORE_LABEL, Container
from lyftlearn_local.layouts.layout import LaunchError
from lyftlearn_local.layouts.patience import await_end
from lyftlearn_local.supervisor import mounts
from lyftlearn_local.supervisor.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout, NodeContext
    from lyftlearn_local.logs.capture import Capture

NO_PYTHON = "the image cannot start `python3`, which the runtime needs: use an image with Python 3.8 or newer"
_NOT_STARTED = (125, 126, 127)
"""Exit codes of an engine that has not started the runtime; the last two are the program's fault, or the engine's."""
_OTHER_ARCHITECTURE = "exec format error"
ROOT = (0, 0)


class ContainerNode(Node):
    """A node in a container. Its process is the engine's client, which prints what the node does and ends with it."""

    def __init__(
        self, container: Container, rank: int, argv: list[str], variables: dict[str, str], kept: Capture
    ) -> None:
        super().__init__(rank, argv, variables, kept, None)
        self._container = container
        self.group = container

    def terminate(self) -> None:
        """Ask the runtime to stop. A client that passed the signal on would print that it came too late."""
        self._container.terminate()

    def kill(self) -> None:
        """End the container; a client that does not notice ends, too."""
        self._container.kill()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def end_leftovers(self) -> None:
        """What outlives the runtime is the container's, and goes with it."""

    def silent_end(self) -> tuple[str, str]:
        """Return reason and words for a runtime that left no report."""
        words = self.last_words()
        if _OTHER_ARCHITECTURE in words:
            return "image", f"{self._container.image} is built for another architecture than this machine's: {words}"
        if self.process.returncode not in _NOT_STARTED:
            return super().silent_end()
        if PYTHON in words:
            return "image", f"{NO_PYTHON} ({words})"
        return "platform", f"the container engine cannot start {self._container.image}: {words}"


class Start:
    """The start of one node: who its user is, and what it is shown."""

    def __init__(self, context: NodeContext) -> None:
        self.context = context
        self.container = Container(context.job.path, context.rank, context.run["container"])
        self._settings = self.container.settings
        self._rootless: bool = self.container.engine["rootless"]
        self._podman = self.container.engine["kind"] == "podman"

    def prepare(self) -> None:
        """Make sure of the image, and tell the runtime what only the image says: its user, and its own variables.

        Raises LaunchError and LaunchStopped.
        """
        image = self._image_settings()
        self._user = self._command_user(str(image.get("User") or ""))
        document = json.loads(self.context.bundle.read_bytes())
        document["hide"] = [*document.get("hide", ()), *_engine_variables(image.get("Env") or ())]
        if self._user != ROOT and os.geteuid() == 0:
            document["user"] = dict(zip(("uid", "gid"), self._user, strict=True))
        self.context.bundle = self.context.directory / "bundle.json"
        self.context.bundle.write_text(json.dumps(document))

    def _image_settings(self) -> dict[str, Any]:
        """Return what the image says of itself, after fetching it if need be."""
        if (there := self.container.image_settings()) is not None:
            return there
        self._pull()
        if (there := self.container.image_settings()) is not None:
            return there
        raise LaunchError("image", f"{self.container.image} was fetched, and cannot be read")

    def _pull(self) -> None:
        code, errors = await_end(self.container.pull_command, self.container.variables, self.context.is_ending)
        if code:
            words = errors.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit code {code}"
            remedy = f"name one that `{self.container.engine['kind']} pull` can fetch, or build it on this machine"
            raise LaunchError("image", f"{self.container.image} cannot be had: {words}; {remedy}")

    def _command_user(self, own: str) -> tuple[int, int]:
        if os.geteuid() != 0 and not self._podman:
            return ROOT if self._rootless else (os.geteuid(), os.getegid())
        if self._settings["user"]:
            uid, gid = self._settings["user"]
            return uid, gid
        return ROOT if own.partition(":")[0] in ("", "0", "root") else self.container.own_user()

    def node(self, layout: ContainerLayout, kept: Capture) -> Node:
        """Start it."""
        environment = {name: value for name, value in self.context.environment.items() if name != "PATH"}
        shown = mounts.options(self.context, layout, environment)
        argv = [*self._run(), *self._identity(), *self._limits(layout), *shown, *_variables(layout, environment)]
        argv += ["--entrypoint", PYTHON, self.container.image, *self.context.run["runtime"][1:]]
        return ContainerNode(self.container, self.context.rank, argv, self.container.variables | environment, kept)

    def _run(self) -> list[str]:
        """Its output is kept by the supervisor alone. Nodes, and what they speak with, share this machine's network.

        Podman logs into what its container prints: that a signal came too late for it, for one. Its refusals stay.
        """
        store = self.context.job.path.parent.parent
        quiet = ["--log-level", "fatal"] if self._podman else []
        driver = self.container.engine.get("log_driver", "none")  # which jobs of earlier versions do not name
        argv = [self.container.engine["program"], *quiet, "run", "--name", self.container.name]
        argv += ["--label", f"{STORE_LABEL}={store}", "--pull", "never", "--log-driver", driver]
        return [*argv, "--network", "host", "--security-opt", "label=disable"]

    def _identity(self) -> list[str]:
        """Root starts the runtime, which becomes the user; without root, whatever the node writes is the caller's."""
        uid, gid = ROOT if os.geteuid() == 0 else self._user
        maps = self._podman and self._rootless and (uid, gid) != ROOT
        return [*(["--userns", f"keep-id:uid={uid},gid={gid}"] if maps else []), "--user", f"{uid}:{gid}"]

    def _limits(self, layout: ContainerLayout) -> list[str]:
        argv = ["--hostname", layout.hostname] if layout.hostname else []
        if memory := self.context.run["memory"]:
            argv += ["--memory", str(memory), "--memory-swap", str(memory)]
        if shared_memory := self.context.run["shared_memory"]:
            argv += ["--shm-size", str(shared_memory)]
        if cpu := self._settings["cpu"]:
            argv += ["--cpus", f"{cpu:g}"]
        return [*argv, *self._gpus(self._settings["gpu"])]

    def _gpus(self, count: int) -> list[str]:
        if not self._podman:
            return ["--gpus", str(count)] if count else []
        return [word for index in range(count) for word in ("--device", f"nvidia.com/gpu={index}")]


def _variables(layout: ContainerLayout, environment: dict[str, str]) -> list[str]:
    """Return what the layout sets, and by name alone what was handed over: `ps` shows it to everybody."""
    by_name = [name for name in environment if name not in layout.variables]
    by_value = [f"{name}={value}" for name, value in layout.variables.items()]
    return [word for text in (*by_name, *by_value) for word in ("--env", text)]


def _engine_variables(own: Sequence[str]) -> list[str]:
    """Return the variables that an engine adds to those of the image, whether it names them or not."""
    return [name for name in ("TERM", "container") if not any(text.startswith(f"{name}=") for text in own)]
