"""Channels that mount a directory of a file system. What they show is not copied: the job gets links to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault, Location, mount_of, relative_path, uri_in
from lyftlearn_sagemaker.record import ARTIFACT, MOUNT_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions
    from lyftlearn_sagemaker.mounts import FileSystem

DATA = "/opt/ml/input/data"
MOST_CHANNELS = 20  # of the API; a test holds it against the service model


class FileSystemChannels:
    """Adds channels to a request. An input has one of its own; all outputs to one mount share one."""

    def __init__(self, mounts: Sequence[FileSystem], config: list[dict[str, Any]]) -> None:
        self._mounts = mounts
        self._config = config

    def input(self, name: str, uri: str) -> dict[str, Any] | None:
        """Return how the bundle has an input below a mount; None for any other."""
        system = mount_of(self._mounts, uri)
        if system is None:
            return None
        channel = name if not name.startswith("lyftlearn") else f"{MOUNT_CHANNEL}input-{len(self._config)}"
        place = self._read(channel, system, uri)
        location = Location.parse(uri)
        if location.member:
            return {"uri": f"{place}#{location.member}", "mode": "fetch"}
        return {"uri": uri, "mode": "linked", "path": place, "within": f"{DATA}/{channel}"}

    def artifact(self, uri: str) -> str | None:
        """Return where the job finds its model, if that is below a mount."""
        system = mount_of(self._mounts, uri)
        if system is None:
            return None
        member = Location.parse(uri).member
        place = self._read(ARTIFACT, system, uri)
        return f"{place}#{member}" if member else place

    def output(self, uri: str | None) -> dict[str, Any]:
        """Return how the bundle has an output. Its directory need not exist yet, so all of the mount is mounted."""
        system = mount_of(self._mounts, uri) if uri else None
        if uri is None or system is None:
            return {"uri": uri}
        channel = f"{MOUNT_CHANNEL}{system.name}"
        if all(entry["ChannelName"] != channel for entry in self._config):
            self._add(channel, system.source(system.directory, to_write=True))
        within = f"{DATA}/{channel}"
        return {"uri": uri_in(within, relative_path(system.path, uri), uri), "within": within}

    def _read(self, channel: str, system: FileSystem, uri: str) -> str:
        directory, name = system.split(uri)
        self._add(channel, system.source(directory))
        return f"{DATA}/{channel}/{name}" if name else f"{DATA}/{channel}"

    def _add(self, channel: str, source: dict[str, Any]) -> None:
        self._config.append({"ChannelName": channel, "DataSource": source, "InputMode": "File"})


def mount_faults(backend: str, spec: JobSpec, options: JobOptions, mounts: Sequence[FileSystem]) -> Iterator[Fault]:
    """Yield what keeps a job from the file systems that it names."""
    written = {f"outputs.{name}": uri for name, uri in spec.outputs.items() if uri}
    named = {**{f"inputs.{name}": uri for name, uri in spec.inputs.items()}, **written}
    named |= {"artifact": spec.artifact} if spec.artifact else {}
    used = {path: system for path, uri in named.items() if (system := mount_of(mounts, uri)) is not None}
    if used and not options.vpc_subnets:
        names = ", ".join(dict.fromkeys(system.name for system in used.values()))
        problem = f"is needed to mount {names}: name subnets and security groups that reach the file system"
        yield Fault(f"{backend}.vpc", problem)
    for path, system in used.items():
        if path in written and system.read_only:
            yield Fault(
                path, f"{written[path]} is below {system.path}, which SageMaker mounts read-only: write elsewhere"
            )
