"""One node's surroundings, as a layout makes them."""

from __future__ import annotations

from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lyftlearn_local.store.files import JobFiles

LOOPBACK = "127.0.0.1"
JOB_DIRECTORY = "/var/run/lyftlearn-job"
"""Where a container has its job's own directory."""


def hosts(count: int) -> list[str]:
    """Return an address of this machine for each node: programs take equal names for one host."""
    return [f"127.0.{rank // 250}.{rank % 250 + 1}" for rank in range(count)]


def host_names() -> str:
    """Return this machine's hosts file, which may be in any encoding, or not be there."""
    try:
        return Path("/etc/hosts").read_bytes().decode("utf-8", "replace")
    except OSError:
        return f"{LOOPBACK} localhost\n"


class LaunchError(Exception):
    """The job fails for no doing of its command: `reason` is whose fault it is, the text says why and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LaunchStopped(Exception):
    """Somebody asked the job to stop while the platform prepared its node or kept what it left."""


class ContainerLayout:
    """Variables, binds (path here, path inside), identity, and where the node reports.

    reports_success: whether a node that succeeded leaves a report; SageMaker takes one for a failure.
    own_devices: a container's few devices in place of this machine's. drops_groups: whether the node has no groups but
    its user's, as only root can have it.
    """

    def __init__(self, report: Path) -> None:
        self.report = report
        self.reports_success = True
        self.variables: dict[str, str] = {}
        self.binds: list[tuple[str, str]] = []
        self.readonly: list[tuple[str, str]] = []
        self.user: tuple[int, int] | None = None
        self.hostname: str | None = None
        self.own_devices = False
        self.drops_groups = False
        self.progress: Path | None = None

    def bind(self, outside: Path, inside: str) -> Path:
        """Show `outside`, a directory made if need be, at `inside`."""
        outside.mkdir(parents=True, exist_ok=True)
        self.binds.append((str(outside), inside))
        return outside

    def report_progress(self, path: Path, inside: str) -> None:
        """Have the runtime say in `path` when its command starts."""
        self.progress = path
        self.variables["LYFTLEARN_SUBSTRATE_PROGRESS"] = inside


class NodeContext:
    """Which node of which job.

    environment: what its container starts with, and the platform's own hands too. is_ending: whether the job is to end.
    container: how its image is run, where it has one. bundle: what the runtime is told.
    """

    def __init__(
        self,
        job: JobFiles,
        run: dict[str, Any],
        environment: dict[str, str],
        *,
        rank: int,
        port: int,
        is_ending: Callable[[], bool],
    ) -> None:
        self.job = job
        self.is_ending = is_ending
        self.run = run
        self.environment = environment
        self.rank = rank
        self.port = port
        self.directory = job.node(rank)
        self.container = run.get("container")
        self.bundle = job.path / "bundle.json"

    def inside(self, path: Path) -> str:
        """Where the node finds a file of its job: in a container that is the image's, the job has a directory."""
        return f"{JOB_DIRECTORY}/{path.relative_to(self.job.path)}" if self.container else str(path)

    @property
    def count(self) -> int:
        """How many nodes the job has."""
        nodes: int = self.run["nodes"]
        return nodes
