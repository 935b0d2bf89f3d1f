"""Fetching the outputs of a job."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lyftlearn._storage import local_path
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    import tarfile

    from lyftlearn._storage._s3 import S3Storage

_ARCHIVE = re.compile(r"(?P<archive>.*/(?:model|output)\.tar\.gz)(?:#(?P<directory>[^/#]+))?")
_AT_ONCE = 8  # downloads in flight


def fetch_output(uri: str, dest: Path) -> None:
    """Fetch the output at `uri`, unpacked, as the directory `dest`.

    `.../model.tar.gz` is unpacked; of `.../output.tar.gz#name`, what is in its directory `name`; of any other URI,
    everything under it, or the one file there. `file://` or `s3://`.

    `dest` appears whole or not at all. If it exists and is not empty, nothing is changed: fetching the same content
    again succeeds, other content raises LyftLearnError. So do an output that does not exist and an archive with members
    that would be unpacked elsewhere.
    """
    target = Path(os.path.realpath(dest))
    match = _ARCHIVE.fullmatch(uri)
    with _beside(target) as work:
        if match is None:
            content = _fetch_tree(uri, work / "content")
        else:
            content = _unpack(_fetch_archive(match["archive"], work), match["directory"], work / "content", uri)
        _place(content, target)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give an empty directory on the file system of `target`, removed afterwards."""
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".lyftlearn-", dir=target.parent) as directory:
        yield Path(directory)


def _place(content: Path, target: Path) -> None:
    try:
        content.rename(target)
    except OSError as error:
        if not target.is_dir() or _snapshot(target) != _snapshot(content):
            message = f"{target} exists and holds something else; nothing was changed. Remove it, or download elsewhere"
            raise LyftLearnError(message) from error


def _snapshot(directory: Path) -> list[tuple[str, str]]:
    """Name and content of everything under `directory`."""
    return sorted((path.relative_to(directory).as_posix(), _content(path)) for path in directory.rglob("*"))


def _content(path: Path) -> str:
    from hashlib import file_digest  # noqa: PLC0415

    if path.is_symlink():
        return f"-> {path.readlink()}"
    if not path.is_file():
        return "directory"
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _fetch_archive(uri: str, work: Path) -> Path:
    if not uri.startswith("s3://"):
        return local_path(uri)
    store, key = _opened(uri)
    archive = work / "archive.tar.gz"
    if not store.fetch(key, archive):
        raise _missing(uri)
    return archive


def _unpack(archive: Path, directory: str | None, content: Path, uri: str) -> Path:
    import tarfile  # noqa: PLC0415

    content.mkdir()
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(content, (member for member in tar if _is_under(member, directory)), filter="data")
    except FileNotFoundError as error:
        raise _missing(uri) from error
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        message = f"{uri} cannot be unpacked, and nothing was kept of it: {error}"
        raise LyftLearnError(message) from error
    unpacked = content / (directory or "")
    if not unpacked.is_dir():
        raise _missing(uri)
    return unpacked


def _is_under(member: tarfile.TarInfo, directory: str | None) -> bool:
    return directory is None or posixpath.normpath(member.name).split("/")[0] == directory


def _fetch_tree(uri: str, content: Path) -> Path:
    content.mkdir()
    if uri.startswith("s3://"):
        _fetch_prefix(uri, content)
    else:
        _copy_tree(uri, content)
    return content


def _copy_tree(uri: str, content: Path) -> None:
    import shutil  # noqa: PLC0415

    source = local_path(uri)
    if source.is_dir():
        shutil.copytree(source, content, symlinks=True, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy2(source, content)
    else:
        raise _missing(uri)


def _fetch_prefix(uri: str, content: Path) -> None:
    """Fetch every object under `uri`, read as a directory; without any, the object that `uri` itself names."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    store, key = _opened(uri)
    prefix = f"{key.rstrip('/')}/" if key else ""
    names = [found.removeprefix(prefix) for found in store.keys(prefix)]
    files = {name: _inside(content, name, uri) for name in names if name and not name.endswith("/")}

    def fetch(name: str) -> bool:
        files[name].parent.mkdir(parents=True, exist_ok=True)
        return store.fetch(prefix + name, files[name])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = list(pool.map(fetch, files))
    single = not names and not key.endswith("/") and store.fetch(key, _inside(content, posixpath.basename(key), uri))
    if not (names or single) or not all(fetched):
        raise _missing(uri)


def _inside(content: Path, name: str, uri: str) -> Path:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts:
        message = f"{uri} holds {name!r}, which would be written outside the destination; nothing was kept of it"
        raise LyftLearnError(message)
    return content.joinpath(*parts)


def _opened(uri: str) -> tuple[S3Storage, str]:
    from lyftlearn._storage._s3 import S3Storage  # noqa: PLC0415  # loads boto3

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return S3Storage(f"s3://{bucket}"), key


def _missing(uri: str) -> LyftLearnError:
    return LyftLearnError(f"{uri} does not exist (yet): an output is there when its job has succeeded")
