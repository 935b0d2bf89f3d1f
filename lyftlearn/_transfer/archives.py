"""Archives given as a source: checked, and unpacked to be packed again like a directory."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lyftlearn._transfer.tree import printable, size_faults
from lyftlearn.errors import LyftLearnError

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError)
_NOWHERE = "/nonexistent"  # members are checked as if unpacked there
_ENCRYPTED = 0x1


def archive_faults(path: Path) -> list[str]:
    """Return everything that stands against unpacking the archive at `path`."""
    faults: list[str] = []
    sizes: list[tuple[str, int]] = []
    try:
        for name, size, fault in _members(path):
            sizes.append((name, size))
            if fault:
                faults.append(f"{printable(name)} in {path.name} {fault}")
    except _BROKEN as error:
        faults.append(f"{path} cannot be read as an archive: {error}")
    return faults + size_faults(sizes)


def unpack(path: Path, directory: Path) -> None:
    """Unpack an archive without faults into the empty `directory`."""
    try:
        if _is_zip(path):
            _unpack_zip(path, directory)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(directory, filter="data")
    except _BROKEN as error:
        message = f"{path} cannot be unpacked: {error}"
        raise LyftLearnError(message) from error


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
        for member in tar:
            yield member.name, member.size if member.isreg() else 0, _tar_fault(member)


def _tar_fault(member: tarfile.TarInfo) -> str | None:
    if member.name.startswith("/"):
        return "has an absolute name: pack the archive with relative ones"
    try:
        tarfile.data_filter(member, _NOWHERE)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return f"is a link out of the archive, to {printable(member.linkname)}: replace it by what it points to"
    except tarfile.OutsideDestinationError:
        return "would be unpacked outside the source: pack the archive without `..`"
    except tarfile.FilterError:
        return "is neither a file, a directory nor a link: remove it"
    return None


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
