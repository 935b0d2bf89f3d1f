"""Fetching the outputs of a job."""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lyftlearn._text.display import reason_of
from lyftlearn._transfer.marks import CONTAINER, CONTENT, is_mark, mark
from lyftlearn._transfer.tree import printable
from lyftlearn.errors import DestinationExists, LyftLearnError
from lyftlearn.runtime.location import Location
from lyftlearn.runtime.tree import MOST_DEEP, is_too_deep, name_fault

if TYPE_CHECKING:
    from lyftlearn._storage._s3 import S3Storage

_ARCHIVES = ("model.tar.gz", "output.tar.gz")
_AT_ONCE = 8  # downloads in flight
_log = logging.getLogger("lyftlearn")
_LONGEST_SHOWN = 100
_MOST_RACES = 100  # lost in a row to others who download to the same place
_LARGEST_EMPTY = 4096  # bytes of an archive that may hold nothing but directories


def fetch_output(uri: str, dest: Path, *, overwrite: bool = False, absent_is_empty: bool = False) -> None:
    """Fetch the output at `uri`, unpacked, as the directory `dest`.

    `.../model.tar.gz` is unpacked; of `.../output.tar.gz#name`, what is in its directory `name`; of any other URI,
    everything under it, or the one file there. `file://` or `s3://`.

    overwrite: whether what is at `dest` is replaced. Else, if it is not empty, nothing is changed: fetching the same
    content again succeeds, other content raises DestinationExists. absent_is_empty: whether an archive that is not
    there stands for an output with nothing in it, as it does once a job has succeeded.

    `dest` appears whole or not at all. Raises LyftLearnError for an output that does not exist, and for an archive with
    members that would be written outside of it. A link that leads out of an archive is left out, with a warning, as in
    a container, and so is what lies too deep in a directory, or is no file.
    """
    target = Path(os.path.realpath(dest))
    location = Location.parse(uri)
    with _named_trouble(location, target), _work_directory(target) as work:
        content = work / "content"
        content.mkdir()
        if posixpath.basename(location.path) in _ARCHIVES:
            _unpack_output(location, content, work / "archive.tar.gz", absent_is_empty=absent_is_empty)
        elif location.is_file:
            _copy_tree(location, content)
        else:
            _fetch_prefix(location, content)
        mark(content, CONTENT)
        _put(content, target, work / "before" if overwrite else None)


@contextmanager
def _named_trouble(location: Location, target: Path) -> Iterator[None]:
    """Say of an error of the disk what was to be done. Nothing is left of it."""
    try:
        yield
    except LyftLearnError:  # some are OSErrors, too
        raise
    except (OSError, ValueError) as error:  # a name that no file can have, too
        name = getattr(error, "filename", None)
        where = f" ({name})" if name else ""
        message = f"{location.uri} cannot be downloaded to {target}: {reason_of(error)}{where}"
        raise LyftLearnError(message) from error


def exists(location: Location) -> bool:
    """Return whether a file, or an object under exactly this key, is there."""
    return _size(location) is not None


def is_empty(uri: str) -> bool:
    """Return whether the archive at `uri`, of a job that succeeded, holds no file. A broken one raises any error."""
    import tarfile  # noqa: PLC0415
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    from lyftlearn.runtime.archives import members_of  # noqa: PLC0415

    location = Location.parse(uri)
    size = _size(location)
    if size is None or size > _LARGEST_EMPTY:
        return size is None
    with TemporaryDirectory() as directory:
        archive = fetch_archive(location, Path(directory, "archive.tar.gz"))
        if archive is None:
            return True
        with tarfile.open(archive) as tar:
            return all(member.isdir() for member in members_of(tar))


def _size(location: Location) -> int | None:
    if not location.is_file:
        return _bucket(location).size(location.key)
    path = Path(location.path)
    return path.stat().st_size if path.exists() else None


@contextmanager
def _work_directory(target: Path) -> Iterator[Path]:
    """Give an empty directory on the file system of `target`, removed afterwards."""
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    _make_parents(target.parent)
    with TemporaryDirectory(prefix=".lyftlearn-", dir=target.parent) as directory:
        mark(directory, CONTENT)
        yield Path(directory)


def _make_parents(directory: Path) -> None:
    if not directory.is_dir():
        _make_parents(directory.parent)
        directory.mkdir(exist_ok=True)
        mark(directory, CONTAINER)


def _put(content: Path, target: Path, aside: Path | None) -> None:
    """Give `content` the name `target`. aside: where what was there before goes, None if it must not be replaced."""
    try:
        content.rename(target)
    except OSError as error:
        if target.is_dir() and _is_same(target, content):
            return
        if aside is None:
            message = (
                f"{target} exists and holds something else; nothing was changed. "
                f"Download with overwrite=True (--overwrite), or elsewhere"
            )
            raise DestinationExists(message) from error
        _replace(content, target, aside)


def _replace(content: Path, target: Path, aside: Path) -> None:
    """Put what is there aside, and the content in its place. Others may do the same meanwhile: one of them is last."""
    for number in range(_MOST_RACES):
        before = aside.with_name(f"{aside.name}-{number}")
        with suppress(FileNotFoundError):  # another one has put it aside
            target.rename(before)
        try:
            content.rename(target)
        except OSError:
            if number + 1 < _MOST_RACES and os.path.lexists(target):
                continue
            with suppress(OSError):
                before.rename(target)
            raise
        return


def _is_same(one: Path, other: Path) -> bool:
    """Whether two directories hold the same; no file is read before names and sizes are. What is unreadable is not."""
    try:
        names = _names_below(one)
        return names == _names_below(other) and all(_content(one / name) == _content(other / name) for name in names)
    except OSError:
        return False


def _names_below(directory: Path) -> dict[str, int | None]:
    """Return the size of each file under `directory` by its name, and None for what is none."""
    found = _entries_below(directory, lambda _: None)
    return {
        name: entry.stat().st_size if entry.is_file(follow_symlinks=False) else None
        for name, entry in found
        if not is_mark(entry.name)
    }


def _entries_below(top: Path, warn: Callable[[str], None]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a directory, links as such: `Path.rglob` and `shutil.copytree` end at 450 levels."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(top / prefix) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                yield name, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting += _unless_too_deep(f"{name}/", warn)


def _unless_too_deep(prefix: str, warn: Callable[[str], None]) -> list[str]:
    """Return the directory if it is to be entered."""
    if not is_too_deep(f"{prefix}x"):
        return [prefix]
    warn(f"{prefix[:_LONGEST_SHOWN]}... goes on for {MOST_DEEP} directories: what lies below is left out")
    return []


def _content(path: Path) -> str:
    from hashlib import file_digest  # noqa: PLC0415

    if path.is_symlink():
        return f"-> {path.readlink()}"
    if not path.is_file():
        return "directory"
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _unpack_output(location: Location, content: Path, copy: Path, *, absent_is_empty: bool) -> None:
    archive = fetch_archive(location, copy)
    if archive is None and absent_is_empty:
        return
    if archive is None or not (_unpack(archive, location, content) or absent_is_empty):
        raise _missing(location)


def fetch_archive(location: Location, copy: Path) -> Path | None:
    """Return the archive at `location`, as the file `copy` if it is in a bucket; None if it is not there."""
    if location.is_file:
        return Path(location.path) if Path(location.path).is_file() else None
    return copy if _bucket(location).fetch(location.key, copy) else None


def _unpack(archive: Path, location: Location, content: Path) -> int:
    """Unpack with the runtime's own unpacker, which trusts neither the archive nor `tarfile`; return how many."""
    from lyftlearn.runtime.archives import unpack  # noqa: PLC0415 - brings tarfile
    from lyftlearn.runtime.faults import RuntimeFailure  # noqa: PLC0415 - as above

    only = location.member or None
    try:
        return unpack(str(archive), str(content), only, location.uri, keep_modes=True, warn=_warner(location))
    except RuntimeFailure as failure:
        raise LyftLearnError(f"{location.uri} cannot be unpacked, and nothing was kept of it: {failure}") from failure


def _warner(location: Location) -> Callable[[str], None]:
    """Return what says that something was left out: it is nothing here, and the rest of an output is worth more."""
    return lambda text: _log.warning("%s: %s", location.uri, printable(text))


def _copy_tree(location: Location, content: Path) -> None:
    import shutil  # noqa: PLC0415

    source = Path(location.path)
    if source.is_file():
        shutil.copy2(source, content)
    elif source.is_dir():
        warn = _warner(location)
        for name, entry in _entries_below(source, warn):
            _copy_entry(entry, content / name, warn)
    else:
        raise _missing(location)


def _copy_entry(entry: os.DirEntry[str], target: Path, warn: Callable[[str], None]) -> None:
    import shutil  # noqa: PLC0415

    if entry.is_symlink():
        target.symlink_to(Path(entry.path).readlink())
    elif entry.is_dir():
        target.mkdir()
    elif entry.is_file():
        shutil.copy2(entry.path, target)
    else:
        warn(f"{entry.path} is neither file nor directory, and is left out")


def _fetch_prefix(location: Location, content: Path) -> None:
    """Fetch every object under a key, read as a directory; without any, the object that the key itself names."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    store, key = _bucket(location), location.key
    prefix = f"{key.rstrip('/')}/" if key else ""
    names = [name.removeprefix(prefix) for name in store.keys(prefix)]
    wanted = (name for name in names if name and not name.endswith("/"))
    files = {name: content / name for name in wanted if _unless_too_deep(name, _warner(location))}
    _refuse_names(location, files)

    def fetch(name: str) -> bool:
        files[name].parent.mkdir(parents=True, exist_ok=True)
        return store.fetch(prefix + name, files[name])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = list(pool.map(fetch, files))
    if not (names or _fetch_single(store, location, content)) or not all(fetched):
        raise _missing(location)


def _fetch_single(store: S3Storage, location: Location, content: Path) -> bool:
    name = posixpath.basename(location.key)
    if not name:
        return False
    _refuse_names(location, [name])
    return store.fetch(location.key, content / name)


def _refuse_names(location: Location, names: Iterable[str]) -> None:
    if fault := name_fault(names):
        message = f"{location.uri} cannot be a directory: {fault}; nothing was kept"
        raise LyftLearnError(message)


def _bucket(location: Location) -> S3Storage:
    from lyftlearn._storage._s3 import S3Storage  # noqa: PLC0415  # loads boto3

    return S3Storage(f"s3://{location.bucket}")


def _missing(location: Location) -> LyftLearnError:
    return LyftLearnError(f"{location.uri} does not exist (yet): an output is there when its job has succeeded")
