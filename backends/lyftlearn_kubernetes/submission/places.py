"""Where a pod finds what a job names: URIs below a file system that pods mount become those of the container."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault, Location, mount_of, relative_path, uri_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn.backend import JobSpec
    from lyftlearn_kubernetes.mounts import Volume
    from lyftlearn_kubernetes.options import Options


class PodPlaces:
    """The places of one job. What was looked up to be read or written is what its pods mount."""

    def __init__(self, spec: JobSpec, options: Options, storage_url: str) -> None:
        self._spec = spec
        self._file_systems = options.file_systems
        self._storage_url = storage_url
        self._used: dict[tuple[str, bool], Volume] = {}

    def uri(self, uri: str, *, to_write: bool = False) -> str:
        """Return what `uri` is called in a pod."""
        volume = mount_of(self._file_systems, uri)
        if volume is None:
            return uri
        self._used[volume.name, to_write] = volume
        return uri_in(volume.directory(to_write=to_write), relative_path(volume.path, uri), uri)

    def spec(self) -> JobSpec:
        """Return the job as its pods see it."""
        spec, source = self._spec, self._spec.source
        if not self._file_systems:
            return spec
        return replace(
            spec,
            inputs={channel: self.uri(uri) for channel, uri in spec.inputs.items()},
            outputs={name: uri and self.uri(uri, to_write=True) for name, uri in spec.outputs.items()},
            output_uri=self.uri(spec.output_uri, to_write=True),
            packages=spec.packages and replace(spec.packages, uri=self.uri(spec.packages.uri, to_write=True)),
            artifact=spec.artifact and self.uri(spec.artifact),
            source=source and replace(source, uri=self.uri(source.uri)),
        )

    def linked_inputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each input that is not copied into the pod, and how the bundle says so.

        What the client has put into the storage belongs to every job with this content, and is copied.
        """
        for channel, uri in self._spec.inputs.items():
            volume = mount_of(self._file_systems, uri)
            stored = uri.startswith(f"{self._storage_url}/inputs/")
            if volume is not None and not stored and not Location.parse(uri).member:
                within = volume.directory(to_write=False)
                path = Location.parse(self.uri(uri)).path
                yield channel, {"uri": uri, "mode": "linked", "path": path, "within": within}

    def placed_outputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each output with a URI on a file system, and how the bundle says so."""
        for name, uri in self._spec.outputs.items():
            volume = mount_of(self._file_systems, uri) if uri else None
            if uri and volume is not None:
                within = volume.directory(to_write=True)
                yield name, {"uri": self.uri(uri, to_write=True), "within": within}

    def faults(self) -> Iterator[Fault]:
        """Yield what would be written to a file system that is read-only."""
        for path, uri in self._destinations():
            volume = mount_of(self._file_systems, uri)
            if volume is not None and volume.read_only:
                yield Fault(path, f"{uri} is below {volume.path}, which pods mount read-only: write to another place")

    def volumes(self) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Return the volumes that the pods of this job mount, and how their container does so."""
        found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for (name, to_write), volume in self._used.items():
            if not volume.everywhere:
                _, mounts = found.setdefault(name, ({"name": name, **volume.source}, []))
                mounts.append(volume.mount(to_write=to_write))
        return list(found.values())

    def _destinations(self) -> Iterator[tuple[str, str]]:
        yield from ((f"outputs.{name}", uri) for name, uri in self._spec.outputs.items() if uri)
        yield "output", self._spec.output_uri
