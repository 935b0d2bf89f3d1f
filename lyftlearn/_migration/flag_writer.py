"""Flag files are replaced whole: by one program at a time, over the content that it read, and with the old permissions.

Whoever evaluates flags sees the old file or the new one. A person who edits a file takes no lock: what they saved after
it was read here is never written over, but for the instant between the last look and the rename.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lyftlearn._text.display import reason_of
from lyftlearn._text.small_file import read_small_file
from lyftlearn.errors import BackendUnavailable, InvalidJob


@dataclass(frozen=True)
class FlagFile:
    """A flagd definition file as it was read. version: a digest of its content; None where there is no file."""

    path: Path
    document: Mapping[str, Any]
    version: str | None


def read(path: Path) -> FlagFile:
    """Return the file, without flags if it is not there.

    Raises InvalidJob for one that is broken, and BackendUnavailable for one that cannot be read.
    """
    file, problem = read_anything(path)
    if problem is not None:
        raise InvalidJob([("flag file", f"{path} {problem}: repair it, or restore it")])
    return file


def read_anything(path: Path) -> tuple[FlagFile, str | None]:
    """Return the file, and what is wrong with it: whoever replaces it whole needs nothing that it says.

    Raises BackendUnavailable for one that cannot be read.
    """
    target = Path(os.path.realpath(path))  # a link stays one: what it leads to is replaced
    try:
        data = read_small_file(target)
    except FileNotFoundError:
        return FlagFile(target, {"flags": {}}, None), None
    except OSError as exc:
        raise BackendUnavailable(f"the flag file {path} cannot be read: {reason_of(exc)}") from exc
    document, problem = _document(data)
    return FlagFile(target, document, _version(data)), problem


def _document(data: bytes) -> tuple[Mapping[str, Any], str | None]:
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        return {"flags": {}}, f"is no JSON ({exc})"
    if not isinstance(document, dict) or not isinstance(document.get("flags"), dict):
        return {"flags": {}}, "has no table of `flags`, so it is no flagd definition file"
    return document, None


def replace(file: FlagFile, document: Mapping[str, Any]) -> FlagFile | None:
    """Write a document in place of the one that was read; None, and nothing changes, if the file is another by now.

    Raises BackendUnavailable if it cannot be written.
    """
    return replace_text(file, document, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def replace_text(file: FlagFile, document: Mapping[str, Any], text: str) -> FlagFile | None:
    """Write a document as `replace` does, in the words that somebody wrote it in."""
    data = text.encode(errors="backslashreplace")  # half a character, which only JSON's own escape can write
    try:
        is_written = _write(file, data)
    except OSError as exc:
        raise BackendUnavailable(f"the flag file {file.path} cannot be written: {reason_of(exc)}") from exc
    return FlagFile(file.path, document, _version(data)) if is_written else None


def _write(file: FlagFile, data: bytes) -> bool:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(file.path), _temporary(file.path, data) as temporary:
        if _version_of(file.path) != file.version:
            return False
        temporary.replace(file.path)
        _sync(file.path.parent)
    return True


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a flag file, which is a file beside it; the kernel gives it back when its holder dies."""
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """Give a file beside `path` with this content on disk, and the owner and permissions of `path`."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _copy_permissions(path, temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _copy_permissions(path: Path, temporary: Path) -> None:
    with suppress(FileNotFoundError):
        found = path.stat()
        with suppress(PermissionError):  # only root may give a file away
            os.chown(temporary, found.st_uid, found.st_gid)
        shutil.copymode(path, temporary)


def _version_of(path: Path) -> str | None:
    try:
        return _version(read_small_file(path))
    except FileNotFoundError:
        return None


def _version(data: bytes) -> str:
    return sha256(data).hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
