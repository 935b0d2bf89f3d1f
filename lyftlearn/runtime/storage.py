"""Places named by URI: a path, `file://`, or `s3://`. What is under them, how to read and how to write it."""

from __future__ import annotations

import os
import stat

from .faults import PLATFORM, RuntimeFailure, configuration_failure
from .location import Location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Sink(Protocol):
        """One object being written: there as a whole after `commit`, or not at all."""

        def write(self, data: bytes) -> None:
            """Append."""

        def commit(self, *, only_new: bool = False) -> None:
            """Make it appear, and check that all of it did. only_new: leave an object that is there already."""

        def abort(self) -> None:
            """Leave nothing."""

    class Store(Protocol):
        """The operations on files at URIs of one scheme."""

        def find(self, uri: str) -> list[Entry]:
            """Every file under a directory, or the one file; nothing where there is nothing."""
            ...

        def read(self, uri: str) -> bytes:
            """One object's content."""
            ...

        def fetch(self, entry: Entry, path: str) -> None:
            """Copy one object that was found into a file."""

        def sink(self, uri: str) -> Sink:
            """Start writing one object."""
            ...

        def remove(self, uri: str, *, top: str = "") -> None:
            """Delete one object, and directories below `top` that are empty then; it may be gone already."""

        def move(self, source: str, destination: str, *, top: str) -> None:
            """Give an object another place below `top`; it may be there already, and nothing at `source`."""


COPY_CHUNK = 1 << 20
PART = ".lyftlearn-part-"
"""Begins the name of a file that is being written. What follows is random: processes of several containers share it."""
FULL = 28  # ENOSPC
NOTHING = 2  # ENOENT
NO_LINKS = (1, 38, 45, 95)  # EPERM, ENOSYS, and EOPNOTSUPP of macOS and Linux: file systems without hard links
FILES = "LYFTLEARN_SUBSTRATE_FILES"
"""Names the directory below which a container has the files of its machine, each at its own path."""
LARGEST_DOCUMENT = 64 << 20
"""Bytes of what is read as a whole: a bundle, and what it refers to."""


class Entry:
    """One file: its URI, its path relative to the URI that was searched, its size in bytes, and its time."""

    def __init__(self, uri: str, relative: str, size: int, modified: float = 0.0) -> None:
        self.uri = uri
        self.relative = relative
        self.size = size
        self.modified = modified


def store_for(uri: str) -> Store:
    """The store that a URI names."""
    if uri.startswith("s3://"):
        from .s3 import S3Store

        return S3Store()
    if uri.startswith(("file://", "/")):
        return FileStore()
    raise configuration_failure(f"{uri}: expected an s3:// or file:// URI, or an absolute path")


def locate(uri: str) -> Location:
    """What a URI of the bundle names."""
    try:
        return Location.parse(uri)
    except ValueError as error:
        raise configuration_failure(str(error)) from error


def read_bytes(uri: str) -> bytes:
    """The content of one object."""
    return store_for(uri).read(uri)


def check_size(uri: str, size: int) -> None:
    """Raise RuntimeFailure if what is at `uri` cannot be a document of a job."""
    if size > LARGEST_DOCUMENT:
        raise configuration_failure(f"{uri} has {size} bytes; a job's documents have at most {LARGEST_DOCUMENT}")


def join(uri: str, relative: str) -> str:
    """The URI of `relative` below `uri`."""
    return locate(uri).join(relative).uri if uri.startswith("file://") else f"{uri.rstrip('/')}/{relative}"


def local_path(uri: str) -> str:
    """The path of a `file://` URI, below where a container has its machine's files; a path stands for itself."""
    return os.environ.get(FILES, "") + locate(uri).path if uri.startswith("file://") else uri


def shown_path(path: str) -> str:
    """The path that a person knows, of one that `local_path` returned."""
    top = os.environ.get(FILES, "")
    return path[len(top) :] if top and path.startswith(f"{top}/") else path


def copy_into(path: str, sink: Sink) -> None:
    """Write a file's content. A pipe in its place is as good as none: it could be waited for for ever."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(NOTHING, "No file", path)
        for chunk in iter(lambda: file.read(COPY_CHUNK), b""):
            sink.write(chunk)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def put(path: str, uri: str) -> None:
    """Write a file to a URI, whole or not at all."""
    sink = store_for(uri).sink(uri)
    try:
        copy_into(path, sink)
        sink.commit()
    except BaseException:
        sink.abort()
        raise


def disk_failure(error: OSError, doing: str) -> RuntimeFailure:
    """What an error of the local disk means for the job."""
    if error.errno == FULL:
        return configuration_failure(f"{doing}: the disk is full: ask for more with resources.disk")
    return RuntimeFailure(PLATFORM, f"{doing}: {error.strerror} ({shown_path(str(error.filename))})")


class FileStore:
    """The local file system."""

    def find(self, uri: str) -> list[Entry]:
        """Every file, links followed, in order of their names; a link to a directory that holds it is left out."""
        from .tree import FILE, Tree

        path = local_path(uri)
        try:
            if not os.path.isdir(path):
                return list(_entry(path, os.path.basename(path))) if os.path.isfile(path) else []
            files = [entry for entry in Tree(path).entries() if entry.kind == FILE and not is_part(entry.name)]
            return [entry for file in files for entry in _entry(file.path, file.name)]
        except OSError as error:
            where = shown_path(error.filename) if error.filename else uri
            raise configuration_failure(f"{where} cannot be read: {error.strerror}") from error

    def read(self, uri: str) -> bytes:
        """The file's bytes."""
        try:
            with open(local_path(uri), "rb") as file:
                check_size(uri, os.fstat(file.fileno()).st_size)
                return file.read(LARGEST_DOCUMENT)
        except OSError as error:
            raise configuration_failure(f"{uri} cannot be read: {error.strerror}") from error

    def fetch(self, entry: Entry, path: str) -> None:
        """Copy content and mode."""
        import shutil

        shutil.copyfile(local_path(entry.uri), path)
        shutil.copymode(local_path(entry.uri), path)

    def sink(self, uri: str) -> FileSink:
        """Write beside the file, then move over it."""
        return FileSink(local_path(uri))

    def remove(self, uri: str, *, top: str = "") -> None:
        """Unlink."""
        try:
            os.unlink(local_path(uri))
        except (FileNotFoundError, NotADirectoryError):
            pass
        _prune(local_path(uri), local_path(top))

    def move(self, source: str, destination: str, *, top: str) -> None:
        """Rename."""
        path = local_path(destination)
        try:
            _make_directories(os.path.dirname(path))
            os.replace(local_path(source), path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise disk_failure(error, f"writing {shown_path(path)}") from error
        _prune(local_path(source), local_path(top))


def _prune(path: str, top: str) -> None:
    """Remove the directories between `top` and `path` that are empty: one might be in a file's way."""
    try:
        while top and (path := os.path.dirname(path)).startswith(top.rstrip("/") + "/"):
            os.rmdir(path)
    except OSError:
        pass


def _entry(path: str, name: str) -> Iterator[Entry]:
    try:
        status = os.stat(path)
        yield Entry(path, name, status.st_size, status.st_mtime)
    except FileNotFoundError:  # gone since its directory was read
        pass


def is_part(name: str) -> bool:
    """Whether a file is one that was being written when its writer died."""
    return os.path.basename(name).startswith(PART)


def part_path(path: str) -> str:
    """Where to write what is to become the file `path`: a name that no other process has."""
    return os.path.join(os.path.dirname(path), PART + os.urandom(8).hex())


def _make_directories(path: str) -> os.stat_result:
    """Make a directory and those above it, each as open as the one that it is in; return what it is like."""
    if not os.path.isdir(path):
        above = _make_directories(os.path.dirname(path))
        mode = _permissions(above) | 0o700
        try:
            os.mkdir(path, mode & 0o777)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        else:
            hand_down_directory(path, mode | above.st_mode & stat.S_ISGID, above)
    return os.stat(path)


def _permissions(above: os.stat_result) -> int:
    """What all may do with what is new in a directory: as much as with the directory, whatever this umask.

    A sticky directory lets everybody write, and nobody touch what is another's.
    """
    return above.st_mode & (0o755 if above.st_mode & stat.S_ISVTX else 0o777)


def hand_down_directory(path: str, mode: int, above: os.stat_result) -> None:
    """Give a new directory its permissions, and its owner where root made it: see `hand_down`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # others may write there, too, and have put something else in its place
    try:
        hand_down(descriptor, mode, above)
    finally:
        os.close(descriptor)


def hand_down(new: int, mode: int, above: os.stat_result) -> None:
    """Give what is open as `new` its permissions; what root made belongs to whom the directory above does.

    So the owner of a storage can read and remove what a container wrote there as root. A file system that lets nobody
    give files away, as NFS often does, keeps them as they are.
    """
    try:
        if os.geteuid() == 0:
            os.fchown(new, above.st_uid, above.st_gid)
        if stat.S_IMODE(os.fstat(new).st_mode) != mode:
            os.fchmod(new, mode)
    except OSError:
        pass


class FileSink:
    """A file that appears when it is complete."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._temporary = part_path(path)
        try:
            above = _make_directories(os.path.dirname(path))
            mode = (_permissions(above) | 0o600) & 0o666
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            descriptor = os.open(self._temporary, flags, mode)
            hand_down(descriptor, mode, above)
            self._file = open(descriptor, "wb")  # noqa: SIM115 - closed by commit or abort
        except OSError as error:
            raise disk_failure(error, f"writing {shown_path(path)}") from error

    def write(self, data: bytes) -> None:
        """Append."""
        try:
            self._file.write(data)
        except OSError as error:
            raise disk_failure(error, f"writing {shown_path(self._path)}") from error

    def commit(self, *, only_new: bool = False) -> None:
        """Flush to the disk and move into place. only_new: leave a file that is there already."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._move(only_new)
        except OSError as error:
            raise disk_failure(error, f"writing {shown_path(self._path)}") from error

    def _move(self, only_new: bool) -> None:
        if not only_new:
            os.replace(self._temporary, self._path)
            return
        try:
            os.link(self._temporary, self._path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.replace(self._temporary, self._path)
            return
        os.unlink(self._temporary)

    def abort(self) -> None:
        """Remove what was written."""
        try:
            self._file.close()
            os.unlink(self._temporary)
        except OSError:
            pass
