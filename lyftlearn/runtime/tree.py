"""A directory's content as it is kept: nothing twice without end, nothing that leads nowhere."""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import BinaryIO

    Warn = Callable[[str], None]

DIRECTORY, FILE, LINK = "directory", "file", "link"
READABLE_DIRECTORY, READABLE_FILE = 0o500, 0o400
MOST_WARNINGS = 20
LONGEST_NAME = 255
"""Bytes, of Linux."""
MOST_DEEP = 256
"""Directories within each other: Python's own ways through a tree, such as `shutil.rmtree`, end at a thousand."""


def warn_on_stderr(text: str) -> None:
    """Tell whoever reads the log."""
    print(f"lyftlearn: {text}", file=sys.stderr, flush=True)


def is_too_deep(name: str) -> bool:
    """Whether no tree that is kept, sent or unpacked may have this name."""
    return name.count("/") >= MOST_DEEP


def is_too_long(parts: Iterable[str]) -> bool:
    """Whether a part of a path has more bytes than the name of a file may have."""
    return any(len(part) > LONGEST_NAME // 4 and len(os.fsencode(part)) > LONGEST_NAME for part in parts)


def name_fault(names: Iterable[str]) -> str:
    """Why the objects of these names, which are paths, cannot all be files of one directory; nothing if they can.

    To a bucket `a//b`, `a/b` and `a` are three names. Here two are one file, and the third would be its directory.
    """
    files: dict[str, str] = {}
    for name in names:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or not parts or "\0" in name:
            return f"{name!r} would be written outside the destination"
        if is_too_long(parts):
            return f"{name!r} is longer than the {LONGEST_NAME} bytes that a file's name may have"
        other = files.setdefault("/".join(parts), name)
        if other != name:
            return f"{other!r} and {name!r} would be one file"
    return _directory_fault(files)


def _directory_fault(files: Mapping[str, str]) -> str:
    known: set[str] = set()
    for path, name in files.items():
        directory = path.rpartition("/")[0]
        while directory and directory not in known:
            if directory in files:
                return f"{files[directory]!r} would be a file, and the directory of {name!r}"
            known.add(directory)
            directory = directory.rpartition("/")[0]
    return ""


class Entry:
    """One name of a tree. `target` is the relative target of a link that is kept as one."""

    def __init__(self, name: str, path: str, kind: str, target: str = "") -> None:
        self.name = name
        self.path = path
        self.kind = kind
        self.target = target


class Tree:
    """The entries of a directory in order, each after the directory that holds it.

    keep_links: links that stay inside are kept as links; otherwise they are what they show, as all others are.
    apart: links from one top-level entry to another count as leading out, because those entries are used one by one.
    without: top-level entries that are left out.
    unreadable: gets the name of each directory that cannot be read, with a "/" at its end; otherwise OSError is raised.
    A link to a directory that holds it, one that leads nowhere, what is no file, and what lies too deep are left out
    with a warning.
    """

    def __init__(
        self,
        top: str,
        keep_links: bool = False,
        apart: bool = False,
        without: tuple[str, ...] = (),
        warn: Warn = warn_on_stderr,
        *,
        unreadable: Callable[[str], None] | None = None,
    ) -> None:
        self._top = os.path.realpath(top)
        self._unreadable = unreadable
        self._keep_links = keep_links
        self._apart = apart
        self._without = without
        self._warn = warn
        self._warnings = 0
        self._followed: set[str] = set()

    def entries(self) -> Iterator[Entry]:
        """Every entry, sorted by name within its directory; none where there is no directory."""
        if not os.path.isdir(self._top):
            return
        yield from self._walk(self._top, "", (self._top,), followed=False)
        if self._warnings > MOST_WARNINGS:
            self._warn(f"{self._warnings - MOST_WARNINGS} more entries of {self._top} are left out")

    def _walk(self, directory: str, prefix: str, ancestors: tuple[str, ...], followed: bool) -> Iterator[Entry]:
        for name in self._names_in(directory, prefix):
            if prefix or name not in self._without:
                yield from self._visit(os.path.join(directory, name), prefix + name, ancestors, followed)

    def _names_in(self, directory: str, prefix: str) -> list[str]:
        try:
            return sorted(os.listdir(make_readable(directory)))
        except FileNotFoundError:
            return []
        except OSError:
            if self._unreadable is None:
                raise
            self._unreadable(prefix)
            return []

    def _visit(self, path: str, name: str, ancestors: tuple[str, ...], followed: bool) -> Iterator[Entry]:
        link = os.path.islink(path)
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            self._leave_out(name, _why_unseen(path, link, error))
            return
        if link and self._keep_links and not followed and self._stays_inside(path, name):
            yield Entry(name, path, LINK, relative_target(path))
        elif stat.S_ISREG(mode):
            yield Entry(name, path, FILE)
        elif not stat.S_ISDIR(mode):
            self._leave_out(name, "is neither file nor directory")
        elif is_too_deep(name + "/x"):
            self._leave_out(name, f"lies below {MOST_DEEP - 1} directories")
        elif not link or self._may_follow(path, name, ancestors, followed):
            yield Entry(name, path, DIRECTORY)
            yield from self._walk(path, name + "/", (*ancestors, os.path.realpath(path)), followed or link)

    def _stays_inside(self, path: str, name: str) -> bool:
        real = os.path.realpath(path)
        if not real.startswith(self._top + os.sep):
            return False
        first, origin = os.path.relpath(real, self._top).split(os.sep, 1)[0], name.split("/", 1)[0]
        return first == origin or not (self._apart or first in self._without)

    def _may_follow(self, path: str, name: str, ancestors: tuple[str, ...], followed: bool) -> bool:
        """Within what a link shows, each directory is followed once: links among many directories multiply."""
        real = os.path.realpath(path)
        if any(ancestor == real or ancestor.startswith(real.rstrip(os.sep) + os.sep) for ancestor in ancestors):
            self._leave_out(name, f"is a link to {os.readlink(path)}, a directory that holds it")
            return False
        if followed and real in self._followed:
            self._leave_out(name, f"is a link to {os.readlink(path)}, which is kept already")
            return False
        self._followed.add(real)
        return True

    def _leave_out(self, name: str, why: str) -> None:
        self._warnings += 1
        if self._warnings <= MOST_WARNINGS:
            self._warn(f"{os.path.join(self._top, name)} is not kept: it {why}")


def _why_unseen(path: str, link: bool, error: OSError) -> str:
    if not link:
        return "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    try:
        return f"is a link to {os.readlink(path)}: {error.strerror}"
    except OSError:
        return "is gone"


class WholeFile:
    """A file that has as many bytes as it had: one that is cut meanwhile ends in zeros, as `tar` has it."""

    def __init__(self, file: BinaryIO, path: str, warn: Warn) -> None:
        self._file, self._path, self._warn = file, path, warn
        self._cut = False

    def read(self, size: int) -> bytes:
        """Return the next bytes, as many as are asked for."""
        data = self._file.read(size)
        if len(data) < size and not self._cut:
            self._cut = True
            self._warn(f"{self._path} was cut while it was kept: it ends in zeros")
        return data.ljust(size, b"\0")


def relative_target(path: str) -> str:
    """Where a link leads, from the directory it stands in, without any link on the way."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(os.path.dirname(path)))


def remove_tree(top: str | os.PathLike[str]) -> None:
    """Remove a directory, however deep it is: `shutil.rmtree` fails where Python's recursion ends.

    Each directory below moves up to `top` before it is emptied. Raises OSError if `top` is still there in the end, for
    whatever reason: what is gone already, or may not be removed, is passed over.
    """
    top = os.fspath(top)
    waiting = [top]
    while waiting:
        waiting += _empty(waiting.pop(), top)
    os.rmdir(top)


def _empty(directory: str, top: str) -> list[str]:
    """Remove what is in a directory, and itself below `top`. Return where the directories in it have moved."""
    moved: list[str] = []
    try:
        for entry in list(os.scandir(directory)):
            moved += _remove_entry(entry, top)
        if directory != top:
            os.rmdir(directory)
    except OSError:
        return moved
    return moved


def _remove_entry(entry: os.DirEntry[str], top: str) -> list[str]:
    """Remove a file; of a directory, return where it has moved. What may not be removed stays."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
            return []
        moved = os.path.join(top, f".{os.urandom(8).hex()}")
        os.rename(entry.path, moved)
    except OSError:
        return []
    return [moved]


def make_readable(path: str) -> str:
    """Give its owner the right to read: what root packs on one platform, the job's own user packs on another."""
    directory = os.path.isdir(path)
    if not os.access(path, os.R_OK | os.X_OK if directory else os.R_OK):
        status = os.stat(path)
        if status.st_uid == os.geteuid():
            os.chmod(path, stat.S_IMODE(status.st_mode) | (READABLE_DIRECTORY if directory else READABLE_FILE))
    return path
