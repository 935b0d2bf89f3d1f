"""File systems that SageMaker mounts into a training job: EFS and FSx for Lustre, as channels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lyftlearn.backend import Fault, Mount, Option, options, plain_path, read_mount_tables, relative_path

EFS, LUSTRE = "EFS", "FSxLustre"
_UNKNOWN = "fs-00000000"
"""Stands in for an id that is faulty, so that the fault is told once, and where it is."""
_LUSTRE_DIRECTORY = re.compile(r"/[^/]+(/.*)?")


def _directory(value: Any) -> str:
    text = options.TEXT.read(value)
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError
    return plain_path(text)


MOUNT_OPTIONS = (
    Option(
        key="file_system",
        kind=options.matching(r"fs-[0-9a-f]{8,18}", "the id of a file system such as fs-0123456789abcdef0"),
        doc="The id of an EFS file system, or of one of FSx for Lustre.",
        example="fs-0123456789abcdef0",
    ),
    Option(
        key="type",
        kind=options.one_of(EFS, LUSTRE),
        default=EFS,
        doc="What kind of file system it is.",
        example=LUSTRE,
    ),
    Option(
        key="directory",
        kind=options.Kind(
            "an absolute path of the file system, without `..`", _directory, {"type": "string", "pattern": "^/"}
        ),
        doc="The directory of the file system that stands for the mount. By default all of EFS. Paths of FSx for "
        "Lustre begin with its mount name.",
        example="/abcdefgh/rides",
    ),
    Option(
        key="read_only",
        kind=options.FLAG,
        doc="Whether outputs may not be written there from SageMaker. By default as the mount itself says.",
        example=True,
    ),
)
"""What `[mounts.<name>.sagemaker]` has."""


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """A mount that training jobs can have. path: where people name its files. directory: what stands for that path."""

    name: str
    path: str
    id: str
    type: str
    directory: str
    read_only: bool

    def source(self, directory: str, *, to_write: bool = False) -> dict[str, Any]:
        """Return a channel's data source: a directory of the file system, which must exist there."""
        return {
            "FileSystemDataSource": {
                "FileSystemId": self.id,
                "FileSystemType": self.type,
                "DirectoryPath": directory,
                "FileSystemAccessMode": "rw" if to_write else "ro",
            }
        }

    def split(self, uri: str) -> tuple[str, str]:
        """Return a directory that holds what is at `uri`, and what that is called there, which may be nothing.

        A channel mounts a directory. Without a `/` at its end a URI may be a file, and only a look would tell.
        """
        relative = relative_path(self.path, uri)
        inside, _, name = relative.rpartition("/")
        return f"{self.directory.rstrip('/')}/{inside}" if inside else self.directory, name


def read_mounts(backend: str, mounts: Sequence[Mount]) -> tuple[list[FileSystem], list[Fault]]:
    """Return the mounts that this backend has, and what is wrong with its tables of them."""
    systems: list[FileSystem] = []
    faults: list[Fault] = []
    written = [mount for mount in mounts if mount.table is not None]
    for table in read_mount_tables(backend, written, MOUNT_OPTIONS):
        faults += table.faults or _missing(table.where, table.values)
        system = FileSystem(
            name=table.mount.name,
            path=table.mount.path,
            id=table.values["file_system"] or _UNKNOWN,
            type=table.values["type"],
            directory=table.values["directory"] or "/",
            read_only=table.read_only,
        )
        systems.append(system)
    return systems, faults


def _missing(where: str, values: Mapping[str, Any]) -> Iterator[Fault]:
    if values["file_system"] is None:
        yield Fault(f"{where}.file_system", "is missing: write the id of an EFS or FSx for Lustre file system")
    if values["type"] == LUSTRE and not _LUSTRE_DIRECTORY.fullmatch(values["directory"] or ""):
        problem = "is missing: paths of FSx for Lustre begin with the mount name of the file system, /<mount name>/..."
        yield Fault(f"{where}.directory", problem)
