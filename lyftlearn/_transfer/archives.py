"""Archives given as a source: checked, and unpacked to be packed again like a directory."""

from __future__ import annotations

import gzip
import os
import posixpath
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lyftlearn._contract.private import make_private
from lyftlearn._text.display import reason_of
from lyftlearn._transfer.tree import printable, size_faults
from lyftlearn.errors import LyftLearnError
from lyftlearn.runtime import archives
from lyftlearn.runtime.tree import MOST_DEEP, is_too_deep

_ENCRYPTED = 0x1


def archive_faults(path: Path) -> list[str]:
    """Return everything that stands against unpacking the archive at `path`."""
    faults: list[str] = []
    sizes: list[tuple[str, int]] = []
    try:
        for name, size, fault in _members(path):
            sizes.append((name, size))
            if is_too_deep(name):
                faults.append(f"{printable(name[:100])}... in {path.name} lies below {MOST_DEEP} directories")
            if fault:
                faults.append(f"{printable(name)} in {path.name} {fault}")
    except Exception as error:  # noqa: BLE001 - decompressors and broken headers raise what they like
        why = reason_of(error) if isinstance(error, OSError) else archives.why_unreadable(str(path), error)
        faults.append(f"{path} cannot be read as an archive: {why}")
    return faults + size_faults(sizes)


def unpack(path: Path, directory: Path) -> None:
    """Unpack an archive without faults into the empty `directory`."""
    try:
        if _is_zip(path):
            _unpack_zip(path, directory)
        else:
            _unpack_tar(path, directory)
    except Exception as error:  # as above
        message = f"{path} cannot be unpacked: {reason_of(error)}"
        raise LyftLearnError(message) from error


def _unpack_tar(path: Path, directory: Path) -> None:
    """Unpack with the runtime's own unpacker, as the job will."""
    left_out: list[str] = []
    archives.unpack(str(path), str(directory), warn=left_out.append)
    if left_out:
        raise ValueError("; ".join(left_out))


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


def _members(path: Path) -> Iterator[tuple[str, int, str | None]]:
    """Yield name, size and fault of each member."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                yield info.filename, info.file_size, _zip_fault(info)
        return
    with tarfile.open(path) as tar:
        for member in archives.members_of(tar):
            yield member.name, min(member.size, sys.maxsize) if member.isreg() else 0, _tar_fault(member)


def _tar_fault(member: tarfile.TarInfo) -> str | None:
    if member.name.startswith("/"):
        return "has an absolute name: pack the archive with relative ones"
    if ".." in member.name.split("/"):
        return "would be unpacked outside the source: pack the archive without `..`"
    if (member.issym() or member.islnk()) and _leads_out(member):
        return f"is a link out of the archive, to {printable(member.linkname)}: replace it by what it points to"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "is neither a file, a directory nor a link: remove it"
    return None


def _leads_out(member: tarfile.TarInfo) -> bool:
    """Whether a link leads out by its own words; those that do so through other links are refused when unpacked."""
    beside = posixpath.dirname(member.name) if member.issym() else ""  # a hard link is named from the top
    target = posixpath.normpath(posixpath.join(beside, member.linkname))
    return target.startswith(("/", "../")) or target == ".."


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts:
        return "would be unpacked outside the source: pack the archive with relative names and without `..`"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted: pack the archive without a password"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symlink, which zip files do not keep reliably: use a .tar.gz"
    return None


def _unpack_zip(path: Path, directory: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            unpacked = Path(archive.extract(info, directory))
            if unpacked.is_file():
                unpacked.chmod(0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644)


def empty_archive(directory: Path, member: str) -> Path:
    """Return an archive below `directory` with nothing but an empty directory `member` in it."""
    path = directory / "output.tar.gz"
    if not path.is_file():
        make_private(directory)
        draft = directory / f".{os.urandom(8).hex()}.tmp"
        info = tarfile.TarInfo(member)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        with (
            draft.open("xb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            archive.addfile(info)
        draft.replace(path)
    return path
