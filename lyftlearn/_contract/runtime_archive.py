"""The client's side of the runtime: one deterministic zip file of it."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from lyftlearn._contract.private import make_private
from lyftlearn._text import display
from lyftlearn.errors import AccessDenied, LyftLearnError, QuotaExceeded

if TYPE_CHECKING:
    from zipfile import ZipFile

PACKAGE = "lyftlearn_runtime"
RUNTIME = Path(__file__).parents[1] / "runtime"
MAIN = "zip_main.py"
SHEBANG = b"#!/usr/bin/env python3\n"
UNSEALED = b"0" * 64
SEAL = slice(len(SHEBANG) + 1, len(SHEBANG) + 1 + len(UNSEALED))
EPOCH = (1980, 1, 1, 0, 0, 0)
READABLE = 0o100644 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)
_LOADED_FIRST = ("__main__.py", f"{PACKAGE}/__init__.py", f"{PACKAGE}/byte_code.py")
_SETTLED_NS = 10**9
_whole: dict[Path, tuple[int, int, int]] = {}
_UNCHECKED_HASH = (1).to_bytes(4, "little")  # the flags of PEP 552


def runtime_archive(cache_dir: Path, *, compiled: bool = True) -> Path:
    """`runtime.pyz` in `cache_dir`, under a name with a hash of its sources: the same make the same file.

    Ask for it before each use: what somebody removed or cut meanwhile is made anew.

    compiled: with byte code of this interpreter's version beside the sources, four times as large. A container with
    the same version of Python starts in half the time; any other reads the sources.
    """
    path = cache_dir / _name(compiled)
    if not _is_whole(path):
        sources = runtime_sources()
        path = cache_dir / _name_of(sources, compiled)
        content = archive_bytes(_with_byte_code(sources) if compiled else sources)
        try:
            _write(path, content)
        except OSError as exc:
            raise _refusal(cache_dir, exc) from exc
    return path


@cache
def _name(compiled: bool) -> str:
    return _name_of(runtime_sources(), compiled)


def _name_of(sources: Mapping[str, bytes], compiled: bool) -> str:
    kind = f"-{sys.implementation.cache_tag}" if compiled else ""
    return f"runtime-{_hash(sources)[:16]}{kind}.pyz"


def _refusal(directory: Path, error: OSError) -> LyftLearnError:
    """Say why nothing can be sent from a home that takes no file."""
    where = f"{display.quote(str(directory))} cannot be written to ({error.strerror})"
    if error.errno in _FULL:
        return QuotaExceeded(f"{where}: free some space")
    if error.errno in _FORBIDDEN:
        return AccessDenied(f"{where}: make it yours, or set another home")
    return LyftLearnError(f"{where}: set LYFTLEARN_HOME, or `home` in the configuration, to a directory that can be")


def runtime_sources() -> dict[str, bytes]:
    """The members of the archive, sorted by name."""
    found = {"__main__.py": (RUNTIME / MAIN).read_bytes(), **dict(_sources(RUNTIME, PACKAGE))}
    return dict(sorted(found.items()))


def archive_bytes(members: Mapping[str, bytes]) -> bytes:
    """The archive: `members` in their order, with fixed times and modes, and its own digest in the second line."""
    import zipfile  # noqa: PLC0415 - only where the archive is not there yet

    buffer = BytesIO(SHEBANG + b"#" + UNSEALED + b"\n")
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            _add(archive, name, content)
    return _with_seal(buffer.getvalue())


def _with_seal(archive: bytes) -> bytes:
    """Put the digest where it stands: before the members, because Pythons up to 3.7 read no zip with a comment."""
    return archive[: SEAL.start] + hashlib.sha256(archive).hexdigest().encode() + archive[SEAL.stop :]


def _is_whole(path: Path) -> bool:
    """Whether the file is there as it was written: what a crash cut would fail every later job.

    What was read is not read again while it has the same time, unless that is so new that a change may have it, too.
    """
    try:
        status = path.stat()
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        if _whole.get(path) == signature:
            return True
        if not S_ISREG(status.st_mode):  # such as a pipe, whose reader would wait for ever
            return False
        content = path.read_bytes()
    except OSError:
        return False
    is_whole = content == _with_seal(content[: SEAL.start] + UNSEALED + content[SEAL.stop :])
    if is_whole and time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
        _whole[path] = signature
    return is_whole


def _hash(members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in members.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _with_byte_code(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add one file with the byte code of all, which the runtime's own loader reads, and what is loaded before it."""
    import marshal  # noqa: PLC0415 - as above

    codes = {name: _byte_code(name, content) for name, content in sources.items()}
    first = {f"{name}c": _cached_module(sources[name], codes[name]) for name in _LOADED_FIRST}
    together = marshal.dumps(codes, 2)  # later versions write down what else refers to a name
    return {**sources, **first, f"{sys.implementation.cache_tag}.modules": together}


@cache
def _byte_code(name: str, content: bytes) -> bytes:
    import marshal  # noqa: PLC0415 - as above

    return marshal.dumps(compile(content, name, "exec", dont_inherit=True))


def _cached_module(content: bytes, code: bytes) -> bytes:
    """Byte code that is not held against its source's time (PEP 552): the archive has one time for all."""
    import importlib.util  # noqa: PLC0415 - as above

    return importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(content) + code


def _sources(directory: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{prefix}/{entry.name}", entry.read_bytes()


def _add(archive: ZipFile, name: str, content: bytes) -> None:
    from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo  # noqa: PLC0415 - as above

    member = ZipInfo(name, EPOCH)
    member.compress_type = ZIP_DEFLATED if name.endswith(".py") else ZIP_STORED  # what every start reads
    member.create_system = 3
    member.external_attr = READABLE
    archive.writestr(member, content)


def _write(path: Path, content: bytes) -> None:
    import tempfile  # noqa: PLC0415 - as above

    make_private(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".runtime-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
