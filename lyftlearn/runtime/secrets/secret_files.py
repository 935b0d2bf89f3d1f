"""Secrets as files: in memory, readable by the job's user alone, gone after it."""

from __future__ import annotations

import os
import shutil

from ..faults import configuration_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Secrets

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it
MOUNTS = "/proc/self/mountinfo"
IN_MEMORY = ("tmpfs", "ramfs")
NAME_MAX = 255
"""Bytes, of Linux."""


class SecretFiles:
    """The directory of a job's secrets."""

    def __init__(self, path: str, tag: str, user: dict[str, int] | None) -> None:
        self._path = path
        self._apart = os.path.join(SHARED_MEMORY, f"lyftlearn-{tag}")
        self._user = user if os.geteuid() == 0 else None
        self._written: list[str] = []

    def write(self, secrets: Secrets) -> None:
        """Write every key, mode 0400."""
        if not secrets:
            return
        paths = file_paths(secrets)
        try:
            self._choose_memory()
            for (secret, key), path in paths.items():
                self._put(os.path.join(self._path, path), secrets[secret][key])
        except OSError as error:
            raise configuration_failure(f"secrets: {error.filename}: {error.strerror}") from error

    def _choose_memory(self) -> None:
        """Leave them where they are if that is memory, or if this system has none to offer: they are taken back."""
        if not os.path.islink(self._path) and (filesystem(self._path) in IN_MEMORY or not os.path.isdir(SHARED_MEMORY)):
            return
        if os.path.ismount(self._path):
            raise configuration_failure(f"secrets: {self._path} is mounted, but not from memory")
        shutil.rmtree(self._apart, ignore_errors=True)
        os.mkdir(self._apart, 0o755)
        os.unlink(self._path) if os.path.islink(self._path) else os.rmdir(self._path)
        os.symlink(self._apart, self._path)
        self._give(self._apart)

    def _put(self, path: str, value: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
            file.write(value)
        self._written.append(path)
        self._give(path)

    def _give(self, path: str) -> None:
        if self._user:
            os.chown(path, self._user["uid"], self._user["gid"])

    def remove(self) -> None:
        """Take them back."""
        for path in self._written:
            if os.path.lexists(path):
                os.unlink(path)
        if os.path.islink(self._path) and os.readlink(self._path) == self._apart:
            os.unlink(self._path)
            shutil.rmtree(self._apart, ignore_errors=True)


def file_paths(secrets: Secrets) -> dict[tuple[str, str], str]:
    """Each key's path, `<secret>/<key>`; a slash in either makes a directory. Raises RuntimeFailure if two meet."""
    paths = {(secret, key): f"{secret}/{key}" for secret, keys in secrets.items() for key in keys}
    faults = [f"secrets: {secret}: the key {key!r} can be no file's name" for secret, key in paths if not _is_path(key)]
    owners: dict[str, tuple[str, str]] = {}
    for owner, path in paths.items():
        parents = {path[:index] for index, letter in enumerate(path) if letter == "/"}
        other = owners.get(path) or next((owners[parent] for parent in parents if parent in owners), None)
        if other:
            faults.append(f"secrets: {owner[0]}: the key {owner[1]!r} has the file of {other[0]}'s {other[1]!r}")
        owners[path] = owner
    if faults:
        raise configuration_failure(*faults)
    return dict(sorted(paths.items(), key=lambda item: item[1]))


def _is_path(key: str) -> bool:
    try:
        parts = [os.fsencode(part) for part in key.split("/")]
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can write
        return False
    return "\0" not in key and all(part not in (b"", b".", b"..") and len(part) <= NAME_MAX for part in parts)


def filesystem(path: str) -> str:
    """The type of the file system that holds `path`, or nothing on a system that does not tell."""
    real, best, kind = os.path.realpath(path), "", ""
    if not os.path.exists(MOUNTS):
        return kind
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            point = fields[4]
            if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, fields[fields.index("-") + 1]
    return kind
