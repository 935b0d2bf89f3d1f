"""What each platform gives a container, as far as this machine can give it."""

from __future__ import annotations

import os

from lyftlearn_local._state import JobFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

LOOPBACK = "127.0.0.1"


class Place:
    """One node's surroundings: variables, binds (path here, path inside), the identity it has, where it reports."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self.variables: dict[str, str] = {}
        self.binds: list[tuple[str, str]] = []
        self.user: tuple[int, int] | None = None
        self.hostname: str | None = None
        self.progress: Path | None = None

    def bind(self, outside: Path, inside: str) -> Path:
        """Show `outside`, a directory made if need be, at `inside`."""
        outside.mkdir(parents=True, exist_ok=True)
        self.binds.append((str(outside), inside))
        return outside


def local(job: JobFiles, run: dict[str, Any], rank: int, port: int) -> Place:
    """Only the contract: nothing that a platform would add."""
    node = job.node(rank)
    node.mkdir(parents=True, exist_ok=True)
    place = Place(node / "report")
    root = node / "lyftlearn"
    if run["namespaces"]:
        place.bind(root, "/lyftlearn")
    else:
        place.variables["LYFTLEARN_ROOT"] = str(root)
    place.variables |= {
        "LYFTLEARN_BUNDLE": str(job.path / "bundle.json"),
        "LYFTLEARN_SUBSTRATE": "local",
        "LYFTLEARN_SUBSTRATE_REPORT": str(place.report),
    }
    return several(place, job, run, rank, port)


def several(place: Place, job: JobFiles, run: dict[str, Any], rank: int, port: int) -> Place:
    """Add how the nodes of a job find each other, and where a node says that its command runs."""
    place.progress = job.node(rank) / "progress"
    place.variables["LYFTLEARN_SUBSTRATE_PROGRESS"] = str(place.progress)
    if run["nodes"] > 1:
        place.variables |= {
            "LYFTLEARN_SUBSTRATE_RANK": str(rank),
            "LYFTLEARN_SUBSTRATE_HOSTS": ",".join([LOOPBACK] * run["nodes"]),
            "LYFTLEARN_SUBSTRATE_PORT": str(port),
        }
    return place


LAYOUTS: dict[str, Callable[[JobFiles, dict[str, Any], int, int], Place]] = {"local": local}


def free_port() -> int:
    """A TCP port that nobody uses now."""
    import socket

    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def search_path(python: str) -> str:
    """PATH of a clean environment in which the interpreter that submitted the job comes first."""
    standard = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return f"{os.path.dirname(python)}:{standard}"
