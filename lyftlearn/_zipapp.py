"""The client's side of the runtime: one deterministic zip file of it."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path

PACKAGE = "lyftlearn_runtime"
MAIN = f"import sys\nfrom {PACKAGE}.__main__ import main\nsys.exit(main())\n"
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
READABLE = 0o100644 << 16


def runtime_archive(cache_dir: Path) -> Path:
    """`runtime.pyz` in `cache_dir`, under a name that holds its hash: the same sources make the same file."""
    content = archive_bytes()
    path = cache_dir / f"runtime-{hashlib.sha256(content).hexdigest()[:16]}.pyz"
    if not path.exists():
        _write(path, content)
    return path


def archive_bytes() -> bytes:
    """The archive: sorted members with fixed times and modes."""
    buffer = BytesIO(SHEBANG)
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", MAIN.encode())
        for name, content in sorted(_sources(files("lyftlearn") / "runtime", PACKAGE)):
            _add(archive, name, content)
    return buffer.getvalue()


def _sources(directory: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{prefix}/{entry.name}", entry.read_bytes()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3
    member.external_attr = READABLE
    archive.writestr(member, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".runtime-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
