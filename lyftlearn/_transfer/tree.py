"""What a source directory holds, without what never belongs to a job's code."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

IGNORE_FILE = ".lyftlearnignore"
LIMIT = 2 << 30  # bytes
LEFT_OUT = frozenset((
    ".git", ".hg", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pytest_cache", ".pytype",
    ".ruff_cache", ".svn", ".tox", "__pycache__",
))  # fmt: skip
_SHOWN = 10
_Ignored: TypeAlias = Callable[[str], bool]


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
        seen = self.stat
        return self.name, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, self.link


@dataclass
class Tree:
    """The entries of a source directory, parents first, and what stands against packing them."""

    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def signature(self) -> str:
        """Equal for equal trees, known without reading a file."""
        return sha256(repr([entry.signature for entry in self.entries]).encode(errors="surrogateescape")).hexdigest()


def scan(root: Path) -> Tree:
    """Return what is under the directory `root`, sorted by name."""
    real = os.path.realpath(root)
    tree = Tree()
    try:
        ignored = _ignored(Path(real, IGNORE_FILE))
        for found, name in _walk(real, ignored, tree.faults):
            _add(tree, real, found, name)
    except OSError as error:
        tree.faults.append(f"{root} cannot be read: {error.strerror}")
    except ValueError as error:
        tree.faults.append(f"{IGNORE_FILE} cannot be read: {error}")
    tree.entries.sort(key=lambda entry: os.fsencode(entry.name))
    tree.faults[:] = _shortened(sorted(tree.faults)) + size_faults([(one.name, one.size) for one in tree.entries])
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


def _walk(root: str, ignored: _Ignored, faults: list[str]) -> Iterator[tuple[os.DirEntry[str], str]]:
    directories = [root]
    while directories:
        directory = directories.pop()
        for found in _listed(directory, root, faults):
            name = os.path.relpath(found.path, root)
            is_directory = found.is_dir(follow_symlinks=False)
            if _left_out(found) or ignored(f"{name}/" if is_directory else name):
                continue
            if is_directory:
                directories.append(found.path)
            yield found, name


def _listed(directory: str, root: str, faults: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except PermissionError:
        faults.append(_unreadable(os.path.relpath(directory, root)))
        return []


def _left_out(found: os.DirEntry[str]) -> bool:
    return found.name in LEFT_OUT or (found.is_dir() and os.path.exists(f"{found.path}/pyvenv.cfg"))  # noqa: PTH110


def _add(tree: Tree, root: str, found: os.DirEntry[str], name: str) -> None:
    seen = found.stat(follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode):
        _add_link(tree, root, Entry(name, found.path, seen))
    elif not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):
        tree.faults.append(
            f"{printable(name)} is neither a file nor a directory: remove it or name it in {IGNORE_FILE}"
        )
    elif stat.S_ISREG(seen.st_mode) and not os.access(found.path, os.R_OK):
        tree.faults.append(_unreadable(name))
    else:
        tree.entries.append(Entry(name, found.path, seen))


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


def _ignored(path: Path) -> _Ignored:
    """Return what the ignore file at `path` says of a name; a directory's ends in `/`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return lambda _: False
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  # few sources have the file

    return GitIgnoreSpec.from_lines(text.splitlines()).match_file


def _unreadable(name: str) -> str:
    return f"{printable(name)} may not be read: change its permissions, or name it in {IGNORE_FILE}"


def _shortened(faults: list[str]) -> list[str]:
    if len(faults) <= _SHOWN:
        return faults
    return [*faults[:_SHOWN], f"and {len(faults) - _SHOWN} more like these"]


def _amount(size: int) -> str:
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_each:
            return f"{size / bytes_each:.2f} {unit}"
    return f"{size} B"
