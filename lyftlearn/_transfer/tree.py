"""What a source directory holds, without what never belongs to a job's code."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lyftlearn._storage import storage_directory
from lyftlearn._transfer.ignoring import IGNORE_FILE, Ignored
from lyftlearn._transfer.marks import CONTAINER, CONTENT, PLAN, is_mark, is_marked, is_plan
from lyftlearn.runtime.tree import MOST_DEEP, is_too_deep

if TYPE_CHECKING:
    from lyftlearn.config import Config

LIMIT = 2 << 30  # bytes
MOST_ENTRIES = 500_000
"""Of a source: a walk through more, such as a whole machine's, would take minutes before anybody is told."""
LEFT_OUT = frozenset((
    ".git", ".hg", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pytest_cache", ".pytype",
    ".ruff_cache", ".svn", ".tox", "__pycache__",
))  # fmt: skip
_APART = "put the code into a directory of its own, or set another home (LYFTLEARN_HOME) and [storage] url"
_SHOWN = 10
_LONGEST_SHOWN = 100


@dataclass(frozen=True)
class SourceRules:
    """What is never part of a source.

    own: directories and files that lyftlearn writes. by_git: whether `.gitignore` files count. by_mark: whether marked
    directories do.
    """

    own: frozenset[str] = frozenset()
    by_git: bool = True
    by_mark: bool = True

    @classmethod
    def of(cls, config: Config) -> SourceRules:
        """Return the rules of a configuration: home, storage, outputs, flags and databases may lie below a source."""
        places = [config.storage_url, config.output_url, *_places_of_flags(config)]
        own = [config.home, *map(storage_directory, places), *_database_files(config)]
        return cls(frozenset(os.path.realpath(path) for path in own if path is not None), config.gitignore)


def _places_of_flags(config: Config) -> Iterator[str]:
    """Yield what changes when somebody moves models: a call that is repeated with its key is the same call then."""
    for one in (config, *config.migrations.values()):
        yield from (os.path.expandvars(place) for place in (one.flag_source, one.kill_switch) if place)


def _database_files(config: Config) -> Iterator[str]:
    """Yield the files of SQLite that each submission writes."""
    for url in (config.history_url, config.journal_url):
        if url.startswith("sqlite"):
            path = unquote(url.partition(":///")[2].partition("?")[0])
            yield from (path + ending for ending in ("", "-wal", "-shm", "-journal") if path)


@dataclass(frozen=True)
class Entry:
    """One file, directory or symlink. name: relative to the root. link: where a symlink leads, from its directory."""

    name: str
    path: str
    stat: os.stat_result
    link: str | None = None

    @property
    def size(self) -> int:
        """Bytes of content; 0 for what is not a file."""
        return self.stat.st_size if stat.S_ISREG(self.stat.st_mode) else 0

    @property
    def signature(self) -> tuple[object, ...]:
        """What changes whenever the entry does, as far as the file system tells."""
        status = self.stat
        return (
            self.name,
            status.st_mode,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            self.link,
        )


@dataclass
class Tree:
    """The entries of a source directory, parents first, and what stands against packing them."""

    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def signature(self) -> str:
        """Equal for equal trees, known without reading a file."""
        return sha256(repr([entry.signature for entry in self.entries]).encode(errors="surrogateescape")).hexdigest()


def scan(root: Path, rules: SourceRules = SourceRules()) -> Tree:
    """Return what is under the directory `root`, sorted by name."""
    real = os.path.realpath(root)
    tree = Tree()
    if real == os.path.dirname(real):  # noqa: PTH120
        tree.faults.append(f"{root} is this whole machine: write the directory that holds the code")
        return tree
    if real in rules.own:
        tree.faults.append(f"{printable(str(root))} is where lyftlearn itself writes: {_APART}")
        return tree
    try:
        walk = _Walk(real, rules, Ignored(real, rules.by_git), tree.faults)
        for entry, name in walk.entries():
            _add(tree, real, entry, name)
    except OSError as error:
        tree.faults.append(f"{printable(str(error.filename or root))} cannot be read: {error.strerror}")
    except ValueError as error:
        tree.faults.append(str(error))
    tree.entries.sort(key=lambda entry: os.fsencode(entry.name))
    tree.faults[:] = _shorten(sorted(tree.faults)) + size_faults([(one.name, one.size) for one in tree.entries])
    return tree


def size_faults(sizes: list[tuple[str, int]]) -> list[str]:
    """Say whether files of these names and sizes are too much for a source, and which weigh most."""
    total = sum(size for _, size in sizes)
    if total < LIMIT:
        return []
    sums: dict[str, int] = {}
    for name, size in sizes:
        branch = "/".join(name.split("/")[:2])
        sums[branch] = sums.get(branch, 0) + size
    largest = sorted(sums.items(), key=lambda item: -item[1])[:5]
    shown = ", ".join(f"{printable(name)} ({_amount(size)})" for name, size in largest)
    limit = f"a source must be smaller than {_amount(LIMIT)}; the largest: {shown}"
    remedy = f"Name what the code does not need in {IGNORE_FILE}, and pass data as inputs"
    return [f"holds {_amount(total)}, and {limit}. {remedy}"]


def printable(name: str) -> str:
    """Return `name` with its undecodable bytes and control characters made visible."""
    return name if name.isprintable() else ascii(name)[1:-1]


@dataclass
class _Walk:
    """The way through a source."""

    root: str
    rules: SourceRules
    ignored: Ignored
    faults: list[str]

    def entries(self) -> list[tuple[os.DirEntry[str], str]]:
        """Return what belongs to the source, with its name from the root."""
        entries: list[tuple[os.DirEntry[str], str]] = []
        directories = [""]
        while directories:
            for entry, name in self._entries_in(directories.pop()):
                entries.append((entry, name))
                if len(entries) > MOST_ENTRIES:
                    raise ValueError(_too_many(entries))
                if entry.is_dir(follow_symlinks=False) and self._may_enter(name):
                    directories.append(name)
        return _without_empty_containers(entries) if self.rules.by_mark else entries

    def _may_enter(self, name: str) -> bool:
        if is_too_deep(f"{name}/x"):
            start = printable(name[:_LONGEST_SHOWN])
            self.faults.append(f"{start}... goes on for {MOST_DEEP} directories: name it in {IGNORE_FILE}")
            return False
        return True

    def _entries_in(self, directory: str) -> Iterator[tuple[os.DirEntry[str], str]]:
        self.ignored.enter(directory)
        for entry in self._list(directory):
            name = f"{directory}/{entry.name}" if directory else entry.name
            slash = "/" if entry.is_dir(follow_symlinks=False) else ""
            if not (self._left_out(entry) or self.ignored.matches(name + slash)):
                yield entry, name

    def _list(self, directory: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self.root, directory)) as entries:  # noqa: PTH118
                return list(entries)
        except PermissionError:
            self.faults.append(_unreadable(directory or "."))
            return []

    def _left_out(self, entry: os.DirEntry[str]) -> bool:
        if entry.name in LEFT_OUT or is_mark(entry.name):
            return True
        if entry.path in self.rules.own:
            return True
        if not entry.is_dir():
            is_json = entry.name.endswith(PLAN) and entry.is_file(follow_symlinks=False)
            return self.rules.by_mark and is_json and is_plan(entry.path)
        environment = os.path.exists(f"{entry.path}/pyvenv.cfg")  # noqa: PTH110
        marked = self.rules.by_mark and is_marked(entry.path, CONTENT)
        return environment or marked


def _without_empty_containers(entries: list[tuple[os.DirEntry[str], str]]) -> list[tuple[os.DirEntry[str], str]]:
    """Leave out directories that a download made and that hold nothing else. Parents come before their children."""
    kept, parents = [], set()
    for entry, name in reversed(entries):
        if name in parents or entry.is_symlink() or not entry.is_dir() or not is_marked(entry.path, CONTAINER):
            kept.append((entry, name))
            parents.add(name.rpartition("/")[0])
    return kept


def _add(tree: Tree, root: str, entry: os.DirEntry[str], name: str) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        _add_link(tree, root, Entry(name, entry.path, status))
    elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        tree.faults.append(
            f"{printable(name)} is neither a file nor a directory: remove it or name it in {IGNORE_FILE}"
        )
    elif stat.S_ISREG(status.st_mode) and not os.access(entry.path, os.R_OK):
        tree.faults.append(_unreadable(name))
    else:
        tree.entries.append(Entry(name, entry.path, status))


def _add_link(tree: Tree, root: str, link: Entry) -> None:
    target = os.path.realpath(link.path)
    if target != root and not target.startswith(root.rstrip("/") + "/"):
        tree.faults.append(
            f"{printable(link.name)} is a symlink out of the source, to {printable(target)}: "
            f"replace it by what it points to, or name it in {IGNORE_FILE}"
        )
        return
    # Rewritten, because an absolute link, or one that leaves and comes back, would lead elsewhere in the container.
    relative = os.path.relpath(target, os.path.dirname(link.path))  # noqa: PTH120
    tree.entries.append(Entry(link.name, link.path, link.stat, relative))


def _too_many(entries: list[tuple[os.DirEntry[str], str]]) -> str:
    """Say that the walk was ended, and where most of what it met lies."""
    branches = Counter(name.partition("/")[0] for _, name in entries)
    shown = ", ".join(f"{printable(name)} ({count:,})" for name, count in branches.most_common(5))
    return (
        f"holds more than {MOST_ENTRIES:,} files and directories; most of those that were looked at are in {shown}. "
        f"Write the directory that holds the code, or name what it does not need in {IGNORE_FILE}"
    )


def _unreadable(name: str) -> str:
    return f"{printable(name)} may not be read: change its permissions, or name it in {IGNORE_FILE}"


def _shorten(faults: list[str]) -> list[str]:
    if len(faults) <= _SHOWN:
        return faults
    return [*faults[:_SHOWN], f"and {len(faults) - _SHOWN} more like these"]


def _amount(size: int) -> str:
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_each:
            return f"{size / bytes_each:.2f} {unit}"
    return f"{size} B"
