"""File systems that pods can mount: those of `[mounts]`, and the volumes of every pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn.backend import Fault, Mount, MountTable, Option, options, read_mount_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READ_DIRECTORY, WRITE_DIRECTORY = "/var/run/lyftlearn-mounts", "/var/run/lyftlearn-outputs"
"""Where pods mount a file system to read from it, and to write to it."""
_SOURCES = ("persistentVolumeClaim", "hostPath", "nfs")
_NFS_OPTIONS = (
    Option(key="server", kind=options.TEXT, doc="The server's name or address.", example="nfs.internal"),
    Option(
        key="path",
        kind=options.matching(r"/.*", "an absolute path"),
        doc="The directory that the server exports.",
        example="/exports/rides",
    ),
)


def _nfs(value: Any) -> Mapping[str, Any]:
    table: Mapping[str, Any] = options.table_of(_NFS_OPTIONS).read(value)
    if table.keys() != {"server", "path"}:
        raise ValueError("a table of server and path")
    return table


def _relative(value: Any) -> str:
    text = str(options.TEXT.read(value))
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError
    return text


MOUNT_OPTIONS = (
    Option(
        key="persistentVolumeClaim",
        kind=options.matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a PersistentVolumeClaim"),
        doc="A claim in the namespace of the jobs.",
        example="rides",
    ),
    Option(
        key="hostPath",
        kind=options.matching(r"/.*", "an absolute path"),
        doc="A directory that every node has.",
        example="/mnt/rides",
    ),
    Option(
        key="nfs",
        kind=options.Kind("a table of server and path", _nfs, options.json_schema(_NFS_OPTIONS)),
        doc="A directory that an NFS server exports.",
        example={"server": "nfs.internal", "path": "/exports/rides"},
    ),
    Option(
        key="subPath",
        kind=options.Kind("a relative path without `..`", _relative, {"type": "string", "minLength": 1}),
        doc="The directory of the volume that is meant. Without it, all of the volume.",
        example="2026",
    ),
    Option(
        key="read_only",
        kind=options.FLAG,
        doc="Whether outputs may not be written there from pods. By default as the mount itself says.",
        example=True,
    ),
)
"""What `[mounts.<name>.kubernetes]` has; exactly one of the first three says what is mounted."""


class Volume(NamedTuple):
    """A file system that a pod can mount.

    path: where people name its files. source: what a pod's volume says of it. everywhere: whether every pod has it, at
    `path`; others are mounted where a job uses them.
    """

    name: str
    path: str
    source: Mapping[str, Any]
    sub_path: str | None = None
    read_only: bool = False
    everywhere: bool = False

    def directory(self, *, to_write: bool) -> str:
        """Return where it is in a pod."""
        if self.everywhere:
            return self.path
        return f"{WRITE_DIRECTORY if to_write else READ_DIRECTORY}/{self.name}"

    def mount(self, *, to_write: bool) -> dict[str, Any]:
        """Return how a container mounts it."""
        sub_path = {"subPath": self.sub_path} if self.sub_path else {}
        read_only = {} if to_write else {"readOnly": True}
        return {"name": self.name, "mountPath": self.directory(to_write=to_write), **sub_path, **read_only}


def read_mounts(backend: str, mounts: Sequence[Mount]) -> tuple[list[Volume], list[Fault]]:
    """Return the mounts that this backend has, and what is wrong with its tables of them."""
    volumes: list[Volume] = []
    faults: list[Fault] = []
    written = [mount for mount in mounts if mount.table is not None]
    for table in read_mount_tables(backend, written, MOUNT_OPTIONS):
        faults += table.faults or _source_faults(table)
        volumes.append(_volume(table))
    return volumes, faults


def platform_volumes(tables: Sequence[Mapping[str, Any]]) -> Iterator[Volume]:
    """Yield the volumes of every pod, as `[[kubernetes.volumes]]` names them."""
    for index, table in enumerate(tables):
        yield Volume(
            name=f"platform-{index}",
            path=table["mountPath"].rstrip("/"),
            source=_source(table),
            read_only=table.get("readOnly", False),
            everywhere=True,
        )


def _source_faults(table: MountTable) -> Iterator[Fault]:
    named = [key for key in _SOURCES if table.values[key] is not None]
    if len(named) != 1:
        seen = f"has {' and '.join(named)}" if named else "says nothing of what is mounted"
        yield Fault(table.where, f"{seen}: write one of {', '.join(_SOURCES)}")


def _volume(table: MountTable) -> Volume:
    return Volume(
        name=f"mount-{table.mount.name}",
        path=table.mount.path,
        source=_source(table.values, check="Directory"),
        sub_path=table.values["subPath"],
        read_only=table.read_only,
    )


def _source(table: Mapping[str, Any], check: str | None = None) -> dict[str, Any]:
    """Return a pod's volume. check: what a node's path must be; unchecked, some nodes make what is not there."""
    if table.get("hostPath"):
        return {"hostPath": {"path": table["hostPath"], **({"type": check} if check else {})}}
    if table.get("nfs"):
        return {"nfs": dict(table["nfs"])}
    return {"persistentVolumeClaim": {"claimName": table.get("persistentVolumeClaim")}}


def host_path_note(volumes: Sequence[Mapping[str, Any]], user: str | None) -> str | None:
    """Return what a job with a user of its own needs of the directories of its node: they keep their owners."""
    paths = ", ".join(str(volume["hostPath"]) for volume in volumes if "hostPath" in volume)
    if not (user and paths):
        return None
    return (
        f"{paths}: user {user} must be able to read and write there: fsGroup does not reach these files; "
        f"a directory of mode 2770 whose group is {user.partition(':')[2]} hands this down to all that is made below it"
    )
