"""Where a job's container finds what is below a mount: in a directory of this machine, which stands for it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault, JobSpec, Location, mount_of, relative_path, uri_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn_local.options import Directory, Options

INSIDE = "/lyftlearn-mounts"
CHANNELS = "/opt/ml/input/data"
"""Where a container finds mounts; in the layout of SageMaker they are channels."""


class LocalPlaces:
    """The places of one job in one layout. has_mounts: whether its containers have mounts of their own."""

    def __init__(self, layout: str, spec: JobSpec, options: Options, *, has_mounts: bool) -> None:
        self._layout = layout
        self._spec = spec
        self._mounts = options.mounts
        self._has_mounts = has_mounts

    def spec(self) -> JobSpec:
        """Return the job with the directories of this machine in the place of mounts."""
        spec, source = self._spec, self._spec.source
        return replace(
            spec,
            inputs={channel: self._uri(uri) for channel, uri in spec.inputs.items()},
            outputs={name: uri and self._uri(uri) for name, uri in spec.outputs.items()},
            output_uri=self._uri(spec.output_uri),
            packages=spec.packages and replace(spec.packages, uri=self._uri(spec.packages.uri)),
            artifact=spec.artifact and self._uri(spec.artifact),
            source=source and replace(source, uri=self._uri(source.uri)),
        )

    @cached_property
    def linked_inputs(self) -> dict[str, dict[str, Any]]:
        """Each input that is not copied, as the bundle has it."""
        return {
            channel: {"uri": uri, "mode": "linked", **self._link(channel, mount, uri)}
            for channel, uri in self._spec.inputs.items()
            if (mount := mount_of(self._mounts, uri)) is not None and not Location.parse(uri).member
        }

    def placed_outputs(self) -> dict[str, dict[str, Any]]:
        """Return each output with a URI on a mount, as the bundle has it."""
        return {
            name: {"uri": self._uri(uri), "within": str(mount.directory)}
            for name, uri in self._spec.outputs.items()
            if uri and (mount := mount_of(self._mounts, uri)) is not None
        }

    def binds(self) -> dict[str, str]:
        """Return what the container shows read-only: the path inside to the directory of this machine."""
        if not self._has_mounts:
            return {}
        return {entry["within"]: self._outside(channel, entry["uri"]) for channel, entry in self.linked_inputs.items()}

    def faults(self) -> Iterator[Fault]:
        """Yield what is not on this machine, and what may not be written to."""
        used = {path: (uri, mount_of(self._mounts, uri)) for path, uri in (*self._sources(), *self._destinations())}
        for absent in dict.fromkeys(mount for _, mount in used.values() if mount and not mount.directory.is_dir()):
            problem = f"{str(absent.directory)!r}, which stands for {absent.path}, is not a directory of this machine"
            yield Fault(f"mounts.{absent.name}.{self._layout}", f"{problem}: set `directory` to one")
        for path, (uri, mount) in used.items():
            if mount and path in dict(self._sources()) and mount.directory.is_dir() and not self._is_there(uri):
                yield Fault(path, f"{uri} is not there: write a path that exists")
            if mount and path in dict(self._destinations()) and mount.read_only:
                yield Fault(path, f"{uri} is below {mount.path}, a mount that is read-only: write to another place")

    def _is_there(self, uri: str) -> bool:
        return os.path.exists(Location.parse(self._uri(uri)).path)  # noqa: PTH110 - `/` at the end counts

    def _uri(self, uri: str) -> str:
        mount = mount_of(self._mounts, uri)
        return uri if mount is None else uri_in(str(mount.directory), relative_path(mount.path, uri), uri)

    def _link(self, channel: str, mount: Directory, uri: str) -> dict[str, str]:
        relative = relative_path(mount.path, uri)
        if not self._has_mounts:
            top = str(mount.directory)
        elif self._layout == "local-sagemaker":
            top, relative = f"{CHANNELS}/{channel}", _below_channel(relative)
        else:
            top = f"{INSIDE}/{mount.name}"
        return {"path": f"{top}/{relative}" if relative else top, "within": top}

    def _outside(self, channel: str, uri: str) -> str:
        """Return the directory that is shown: all of a mount; for a channel, the one that is sure to be a directory."""
        mount = mount_of(self._mounts, uri)
        if mount is None or self._layout != "local-sagemaker":
            return str(mount.directory) if mount else channel
        place = Location.parse(self._uri(uri)).path
        return place.rstrip("/") if not _below_channel(relative_path(mount.path, uri)) else place.rpartition("/")[0]

    def _sources(self) -> Iterator[tuple[str, str]]:
        yield from ((f"inputs.{channel}", uri) for channel, uri in self._spec.inputs.items())
        if self._spec.artifact:
            yield "artifact", self._spec.artifact

    def _destinations(self) -> Iterator[tuple[str, str]]:
        yield from ((f"outputs.{name}", uri) for name, uri in self._spec.outputs.items() if uri)
        yield "output", self._spec.output_uri


def _below_channel(relative: str) -> str:
    """Return what is below the directory that a channel mounts: a name that may be a file's, or nothing."""
    return "" if relative.endswith("/") else relative.rpartition("/")[2]
