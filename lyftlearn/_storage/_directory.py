"""A store in a directory, local or on a network file system that several machines share."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import BinaryIO

from lyftlearn._storage import LARGEST_RECORD, Storage, Stored, change_error, check_size
from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError
from lyftlearn.runtime.storage import hand_down, hand_down_directory

_CHUNK = 1 << 20
_PRIVATE, _GROUP, _DIRECTORY, _FILE = 0o700, 0o2070, 0o2777, 0o666


class DirectoryStorage(Storage):
    """Files named by their keys. A file gets its name only when its content is on disk.

    The root says who may read and write: what is made below it gets its permissions, whatever the umask, and its owner
    where root makes it. See `make_root` for a root that is made here.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def create(self, key: str, data: bytes) -> bool:
        with self._writing(key), self._temporary(key, lambda file: file.write(data)) as temporary:
            return _link(temporary, self._path(key))

    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        with self._reading(key):
            try:
                with open(_open_at_once(self._path(key)), "rb") as file:
                    status = os.fstat(file.fileno())
                    check_size(self.uri(key), status.st_size, largest)
                    modified, data = status.st_mtime_ns, file.read(largest)
            except (FileNotFoundError, NotADirectoryError):
                return None
            now = _touch(self._path(key).parent)
        # Two clocks of one file system may differ by a tick; nothing is younger than new.
        age = timedelta(microseconds=max(0, now - modified) // 1000)
        return Stored(data, _version(data), datetime.fromtimestamp(modified / 1e9, UTC), age)

    def replace(self, key: str, data: bytes, version: str) -> bool:
        path = self._path(key)
        with self._writing(key), self._temporary(key, lambda file: file.write(data)) as temporary, self._lock():
            if not path.is_file() or path.stat().st_size > LARGEST_RECORD or _version(path.read_bytes()) != version:
                return False
            temporary.rename(path)
            _sync(path.parent)
            return True

    def write(self, key: str, data: bytes, version: str | None) -> str | None:
        written = self.create(key, data) if version is None else self.replace(key, data, version)
        return _version(data) if written else None

    def upload(self, key: str, path: Path, sha256: str) -> str:
        target = self._path(key)
        with self._writing(key):
            if not (target.is_file() and target.stat().st_size == path.stat().st_size):
                with self._temporary(key, lambda file: _copy(path, file, sha256)) as temporary:
                    temporary.rename(target)
                    _sync(target.parent)
        return self.uri(key)

    def uri(self, key: str) -> str:
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise LyftLearnError(f"{key!r} would be outside of the storage directory {self.root}")
        return self.root / key

    def _make_directory(self, directory: Path) -> None:
        """Make a directory at or below the root, and those above it."""
        if directory.is_dir():
            return
        if directory == self.root:
            make_root(directory)
            return
        self._make_directory(directory.parent)
        root = self.root.stat()
        try:
            directory.mkdir(mode=root.st_mode & _DIRECTORY)
        except FileExistsError:
            return
        hand_down_directory(str(directory), root.st_mode & _DIRECTORY, root)

    def _new(self, path: Path, flags: int) -> int:
        """Return a descriptor of a file that may be read by whoever may read the root."""
        root = self.root.stat()
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, root.st_mode & _FILE)
        if os.fstat(descriptor).st_uid == os.geteuid():
            hand_down(descriptor, root.st_mode & _FILE, root)
        return descriptor

    @contextmanager
    def _temporary(self, key: str, fill: Callable[[BinaryIO], object]) -> Iterator[Path]:
        """Give a file beside `key` with the content on disk; what is left of it afterwards is removed."""
        directory = self._path(key).parent
        self._make_directory(directory)
        path = directory / f".{os.urandom(8).hex()}.tmp"
        try:
            with open(self._new(path, os.O_WRONLY | os.O_EXCL), "wb") as file:  # noqa: PTH123 - of a descriptor
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock of this store: the kernel gives it back when its holder dies."""
        with open(self._new(self.root / ".lock", os.O_WRONLY), "ab") as file:  # noqa: PTH123 - of a descriptor
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked meanwhile has the file open, too

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        with self._translate_errors("write", key):
            yield

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        with self._translate_errors("read", key):
            yield

    @contextmanager
    def _translate_errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except LyftLearnError:
            raise
        except PermissionError as error:
            message = f"the storage directory {self.root} may not be used: cannot {verb} {key}: {error.strerror}"
            raise AccessDenied(message) from error
        except OSError as error:
            message = f"the storage directory {self.root} cannot be used: cannot {verb} {key}: {error.strerror}"
            raise BackendUnavailable(message) from error


def make_root(root: Path) -> None:
    """Make the directory of a store: for this user alone, or for the group that the one above hands down.

    A directory with the setgid bit is shared by its group: that is how an administrator says so. Nobody else gets in,
    whatever is above.
    """
    if root.is_dir():
        return
    make_root(root.parent)
    above = root.parent.stat()
    try:
        root.mkdir(mode=_PRIVATE)
    except FileExistsError:
        return
    if above.st_mode & stat.S_ISGID:
        hand_down_directory(str(root), _PRIVATE | above.st_mode & _GROUP, above)


def _touch(directory: Path) -> int:
    """Return what time it is on the file system, in nanoseconds: when a new file there was made."""
    path = directory / f".{os.urandom(8).hex()}.tmp"
    try:
        path.touch(exist_ok=False)
        return path.stat().st_mtime_ns
    finally:
        path.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> bool:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        # A network file system may repeat a link whose answer was lost: then the name that is in the way is our own.
        return path.samefile(temporary)
    _sync(path.parent)
    return True


def _sync(directory: Path) -> None:
    """Put the names in `directory` on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(data: bytes) -> str:
    return new_sha256(data).hexdigest()


def _copy(source: Path, target: BinaryIO, sha256: str) -> None:
    digest = new_sha256()
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != sha256:
        raise change_error(source)


def _open_at_once(path: Path) -> int:
    """Open a file to read. Whoever opens a pipe, which somebody has put in its place, would wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no file", str(path))
