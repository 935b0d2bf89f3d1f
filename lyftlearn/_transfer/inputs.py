"""Inputs that are local paths: named by their content, and sent where the job cannot read this machine's files."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

from lyftlearn._storage import Storage, change_error
from lyftlearn._text.encoding import is_unicode
from lyftlearn._transfer.tree import printable
from lyftlearn.errors import LyftLearnError

_AT_ONCE = 16  # uploads in flight


@dataclass
class _Files:
    """Relative name to path, and what stands against sending them."""

    paths: dict[str, Path] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def input_faults(path: Path) -> list[str]:
    """Return everything that stands against using the file or directory at `path` as an input."""
    return _files(path).faults


def hash_input(path: Path) -> str:
    """Return a SHA-256 over the names and bytes of a local file or directory. Symlinks count as what they point to.

    Empty directories do not count: object stores have none. Raises LyftLearnError with every fault.
    """
    return _content_digest(path, _hashes(_sendable(path)))


def input_size(path: Path) -> tuple[int, int]:
    """Return how many files `upload_input` would send, and their bytes. Raises LyftLearnError with every fault."""
    sizes = [file.stat().st_size for file in _sendable(path).values()]
    return len(sizes), sum(sizes)


def input_uri(storage: Storage, path: Path, sha256: str) -> str:
    """Return where `upload_input` keeps the file or directory at `path`, whose `hash_input` is `sha256`."""
    uri = storage.uri(f"inputs/{sha256}")
    return f"{uri}/" if path.is_dir() else storage.uri(f"inputs/{sha256}/{path.name}")


def upload_input(storage: Storage, path: Path, sha256: str | None = None) -> str:
    """Keep a local file or directory in `storage`, sending nothing twice; return its URI, a directory's with `/` last.

    sha256: what `hash_input` said, where a URI was made of it; if the content is another by now, LyftLearnError is
    raised, as it is with every fault, and when a file changes meanwhile.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    files = _sendable(path)
    hashes = _hashes(files)
    digest = _content_digest(path, hashes)
    if sha256 not in (None, digest):
        raise change_error(path)

    def upload(name: str) -> str:
        return storage.upload(f"inputs/{digest}/{name}", files[name], hashes[name])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(upload, hashes))
    return input_uri(storage, path, digest)


def _content_digest(path: Path, hashes: dict[str, str]) -> str:
    digest = sha256(b"directory" if path.is_dir() else b"file")
    for name, content in sorted(hashes.items()):
        digest.update(f"\0{content}{name}".encode())
    return digest.hexdigest()


def _sendable(path: Path) -> dict[str, Path]:
    files = _files(path)
    if files.faults:
        message = f"{path} cannot be an input: " + "; ".join(files.faults)
        raise LyftLearnError(message)
    return files.paths


def _hashes(files: dict[str, Path]) -> dict[str, str]:
    return {name: _hash(path) for name, path in files.items()}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> _Files:
    files = _Files()
    if not path.exists():
        files.faults.append(f"{path} does not exist")
    elif path.is_dir():
        _search(path, files)
        if not files.paths and not files.faults:
            files.faults.append(f"{path} holds no file")
    else:
        _add(path.name, path, files)
    return files


def _search(root: Path, files: _Files) -> None:
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        directory, prefix, above = waiting.pop()
        status = directory.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            files.faults.append(f"{printable(prefix[:-1])} is a symlink to a directory that it is in: remove it")
            continue
        for child in _children(directory, files):
            if child.is_dir():
                waiting.append((child, f"{prefix}{child.name}/", above | {here}))
            else:
                _add(prefix + child.name, child, files)


def _children(directory: Path, files: _Files) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except PermissionError:
        files.faults.append(f"{printable(str(directory))} may not be read: change its permissions")
        return []


def _add(name: str, path: Path, files: _Files) -> None:
    if fault := _fault(name, path):
        files.faults.append(f"{printable(name)} {fault}")
    else:
        files.paths[name] = path


def _fault(name: str, path: Path) -> str | None:
    if not path.exists():
        return "is a symlink to nothing: remove it"
    if not stat.S_ISREG(path.stat().st_mode):
        return "is neither a file nor a directory: remove it"
    if not os.access(path, os.R_OK):
        return "may not be read: change its permissions"
    return None if is_unicode(name) else "has a name that is not UTF-8: rename it"
