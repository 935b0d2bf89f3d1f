"""A source becomes one gzipped tar, the same bytes for the same content.

Entries are sorted, owned by nobody in particular, dated 1980-01-01 (zip files, and so wheels built in the job, can hold
nothing older), with mode 0755 where the owner may execute them and 0644 where not.
"""

from __future__ import annotations

import io
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from lyftlearn._contract.private import make_private
from lyftlearn._storage import Storage, change_error
from lyftlearn._text.small_file import read_small_text
from lyftlearn._transfer.progress import PackingProgress
from lyftlearn._transfer.tree import Entry, SourceRules, Tree, scan
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    import gzip
    import tarfile

    from typing_extensions import Buffer

_EPOCH = 315532800  # 1980-01-01, in seconds
_BLOCK = 1 << 20
_LEVEL = 6
_FRESH_NS = 2_000_000_000  # a file changed this recently may change again without the file system's times showing it
_KEPT = 30 * 24 * 3600.0  # seconds since an archive was last used
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True)
class Packed:
    """A source, packed.

    sha256: of the archive's bytes, its name in storage. content: SHA-256 of the tar inside, which does not depend on
    this machine's compressor, for digests.
    """

    path: Path
    sha256: str
    content: str


def source_faults(path: Path, rules: SourceRules = SourceRules()) -> list[str]:  # noqa: B008 - it never changes
    """Return everything that stands against using `path` as a source, each with what to do."""
    if not os.path.lexists(path):
        return [f"{path} does not exist"]
    if path.is_dir():
        return scan(path, rules).faults
    if not path.is_file():
        return [f"{path} is neither a directory nor an archive"]
    if not path.name.lower().endswith(ARCHIVES):
        return [f"{path} is a file: give the directory that holds it, or an archive ({', '.join(ARCHIVES)})"]
    from lyftlearn._transfer.archives import archive_faults  # noqa: PLC0415  # loads tarfile and zipfile

    return archive_faults(path)


def pack_source(path: Path, cache_dir: Path, rules: SourceRules = SourceRules()) -> Packed:  # noqa: B008 - as above
    """Pack the directory, or repack the archive, at `path`. What did not change since the last time is not read again.

    Raises LyftLearnError with every fault, or if the source changes meanwhile.
    """
    if path.is_dir():
        tree = scan(path, rules)
        return _find_in_cache(path, tree, cache_dir) or _remember(path, tree, _pack(path, tree, cache_dir), cache_dir)
    if faults := source_faults(path, rules):
        raise _refusal(path, faults)
    archive = Tree([Entry(path.name, str(path), path.stat())])
    return _find_in_cache(path, archive, cache_dir) or _remember(path, archive, _repack(path, cache_dir), cache_dir)


def source_uri(storage: Storage, packed: Packed) -> str:
    """Return where a packed source is, or will be, in `storage`."""
    return storage.uri(source_key(packed.sha256))


def upload_source(storage: Storage, packed: Packed) -> str:
    """Keep a packed source in `storage`, once, and return its URI."""
    return storage.upload(source_key(packed.sha256), packed.path, packed.sha256)


def source_key(sha256: str) -> str:
    """Return under which key a storage has the packed source of this SHA-256."""
    return f"sources/{sha256}.tar.gz"


def _repack(path: Path, cache_dir: Path) -> Packed:
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    from lyftlearn._transfer.archives import unpack  # noqa: PLC0415

    make_private(cache_dir)
    with TemporaryDirectory(dir=cache_dir) as directory:
        unpack(path, Path(directory))
        return _pack(path, scan(Path(directory), SourceRules(by_git=False)), cache_dir)


def _pack(path: Path, tree: Tree, cache_dir: Path) -> Packed:
    if tree.faults:
        raise _refusal(path, tree.faults)
    make_private(cache_dir)
    _prune(cache_dir)
    temporary = cache_dir / f".{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            with PackingProgress(path, sum(entry.size for entry in tree.entries)) as progress:
                digest, content = _write(tree, file, progress)
            os.fsync(file.fileno())
        return Packed(temporary.rename(cache_dir / f"{digest}.tar.gz"), digest, content)
    except OSError as error:
        message = f"{path} cannot be packed in {cache_dir}: {error.strerror}"
        raise LyftLearnError(message) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(tree: Tree, file: BinaryIO, progress: PackingProgress) -> tuple[str, str]:
    """Write the archive of `tree`; return the SHA-256 of its bytes and of the tar inside."""
    import gzip  # noqa: PLC0415
    import tarfile  # noqa: PLC0415

    outer = _Hashing(file)
    with gzip.GzipFile("", "wb", _LEVEL, outer, mtime=0) as compressed:
        inner = _Hashing(compressed)
        # tarfile's own buffer is copied at every write, so a large one costs as much as the compression.
        with io.BufferedWriter(inner, _BLOCK) as buffer, tarfile.open(None, "w|", buffer) as archive:
            for entry in tree.entries:
                _add(archive, entry, progress)
    file.flush()
    return outer.digest.hexdigest(), inner.digest.hexdigest()


def _add(archive: tarfile.TarFile, entry: Entry, progress: PackingProgress) -> None:
    info = archive.tarinfo(entry.name)
    info.mtime = _EPOCH
    info.mode = 0o755 if entry.stat.st_mode & stat.S_IXUSR else 0o644
    if entry.link is not None:
        info.type, info.linkname, info.mode = b"2", entry.link, 0o777
        archive.addfile(info)
    elif stat.S_ISDIR(entry.stat.st_mode):
        info.type, info.mode = b"5", 0o755
        archive.addfile(info)
    else:
        info.size = entry.size
        with _open_unchanged(entry) as file:
            archive.addfile(info, _Exactly(file, entry, progress))


@contextmanager
def _open_unchanged(entry: Entry) -> Iterator[BinaryIO]:
    """Open a file, and raise if it is not, or does not stay, what was scanned."""
    try:
        file = Path(entry.path).open("rb")  # noqa: SIM115  # an error here is not one of writing
    except OSError as error:
        raise change_error(Path(entry.path)) from error
    with file:
        yield file
        status = os.fstat(file.fileno())
    if (status.st_ino, status.st_size, status.st_mtime_ns) != (
        entry.stat.st_ino,
        entry.stat.st_size,
        entry.stat.st_mtime_ns,
    ):
        raise change_error(Path(entry.path))


class _Exactly:
    """A file that raises where it ends early, so that an error of reading is told from one of writing."""

    def __init__(self, file: BinaryIO, entry: Entry, progress: PackingProgress) -> None:
        self._file, self._entry, self._progress = file, entry, progress

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise change_error(Path(self._entry.path))
        self._progress.advance(len(data))
        return data


class _Hashing(io.RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self.digest = sha256()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _index(path: Path, cache_dir: Path) -> Path:
    return cache_dir / f"{sha256(os.fsencode(os.path.realpath(path))).hexdigest()}.json"


def _find_in_cache(path: Path, tree: Tree, cache_dir: Path) -> Packed | None:
    """Return what was packed when `path` last looked as it does now."""
    try:
        known = json.loads(read_small_text(_index(path, cache_dir)))
        packed = Packed(cache_dir / f"{known['sha256']}.tar.gz", known["sha256"], known["content"])
        if tree.faults or known["signature"] != tree.signature or not _is_whole(packed):
            return None
        os.utime(packed.path)
    except (OSError, ValueError, LookupError, RecursionError, TypeError):
        return None
    return packed


def _is_whole(packed: Packed) -> bool:
    """Whether the archive has the bytes that its name says: a disk that lost some must not fail every later job."""
    with packed.path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == packed.sha256


def _remember(path: Path, tree: Tree, packed: Packed, cache_dir: Path) -> Packed:
    newest = max((entry.stat.st_ctime_ns for entry in tree.entries), default=0)
    if newest < time.time_ns() - _FRESH_NS:
        known = {"signature": tree.signature, "size": packed.path.stat().st_size}
        temporary = cache_dir / f".{os.urandom(8).hex()}.tmp"
        temporary.write_text(json.dumps(known | {"sha256": packed.sha256, "content": packed.content}))
        temporary.rename(_index(path, cache_dir))
    return packed


def _prune(cache_dir: Path) -> None:
    """Remove what nobody used for long, and what a process that died left behind."""
    import shutil  # noqa: PLC0415

    for path in cache_dir.iterdir():
        with suppress(FileNotFoundError):  # somebody else packs here too
            if path.stat().st_mtime >= time.time() - _KEPT:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _refusal(path: Path, faults: list[str]) -> LyftLearnError:
    return LyftLearnError(f"{path} cannot be packed: " + "; ".join(faults))
