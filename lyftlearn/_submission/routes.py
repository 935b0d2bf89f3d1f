"""How files that a call names by a path reach its job: by themselves, where jobs see them, or through the storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.mounts import Mount, mount_of

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn.backend import Backend


@dataclass(frozen=True)
class LocalInput:
    """An input that is named by a path: of this machine, of a file system that jobs see by themselves, or of both.

    uri: what jobs are told that see it by themselves. member: the directory of the archive at `path` that is meant, or
    empty. stands_in: whether it stands for an archive that a job did not leave, because there was nothing to put into
    it. mount: the mount of `[mounts]` that holds it: it is never read here, and never uploaded.
    """

    path: Path
    uri: str = ""
    member: str = ""
    stands_in: bool = False
    mount: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Of its content, read once, when somebody first needs to know."""
        from lyftlearn._transfer import hash_input  # noqa: PLC0415 - only for local inputs

        return hash_input(self.path)


class InputRoutes:
    """Which inputs of one call the jobs of one backend see, which are uploaded, and which cannot be had there."""

    def __init__(
        self, arguments: Arguments, local: Mapping[str, LocalInput], backend: Backend, mounts: tuple[Mount, ...]
    ) -> None:
        self._arguments = arguments
        self._backend = backend
        self._mounts = mounts
        self._capabilities = backend.capabilities()
        self._hidden = {path: one for path, one in local.items() if one.stands_in or not self._is_seen(one)}

    def uploads(self) -> dict[str, LocalInput]:
        """Return what goes through the storage, by the path of its argument."""
        return {path: one for path, one in self._hidden.items() if one.mount is None and one.path.exists()}

    def faults(self) -> Iterator[Fault]:
        """Yield what jobs of this backend neither see nor can be sent."""
        yield from self._missing_mounts()
        for path, one in self._hidden.items():
            if one.mount is None and not one.path.exists():
                problem = (
                    f"{str(one.path)!r} is not there, and jobs on {self._backend.name} do not see it by themselves"
                )
                yield Fault(path, f"{problem}: write a path that exists, or mount what holds it with [mounts]")

    def notes(self) -> Iterator[str]:
        """Yield what is uploaded, and how much that is."""
        for path, one in self.uploads().items():
            if not one.stands_in:
                from lyftlearn._transfer import input_size  # noqa: PLC0415 - only for inputs that travel

                files, size = input_size(one.path)
                yield f"{path}: {one.path} goes through the storage: {size:,} bytes in {files:,} files"

    def _is_seen(self, one: LocalInput) -> bool:
        return self._capabilities.sees_path(str(one.path))

    def _missing_mounts(self) -> Iterator[Fault]:
        for path, uri in self._named_uris():
            mount = mount_of(self._mounts, uri)
            if mount is not None and not self._capabilities.sees_path(mount.path):
                name = self._backend.name
                problem = f"{uri} is under the mount {mount.name}, which {name} does not have"
                yield Fault(path, f"{problem}: say in [mounts.{mount.name}.{name}] how it is mounted there")

    def _named_uris(self) -> Iterator[tuple[str, str]]:
        yield from ((path, one.uri) for path, one in self._hidden.items() if one.mount)
        yield from ((f"outputs.{name}", uri) for name, uri in self._arguments.outputs.items() if uri)
