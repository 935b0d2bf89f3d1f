"""An image with Python, made from this machine's own files in seconds: no registry of images is reached.

It holds this Python with its standard library and boto3, a shell, a few programs, and the libraries that they load.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import boto3
import botocore
import pytest

from lyftlearn_local.containers.engine import Engine, find_engine

NAME = "localhost/lyftlearn-test/python"
PROGRAMS = (
    *("sh", "env", "id", "ls", "cat", "sleep", "hostname", "true", "false", "kill", "df", "mkdir", "rm", "cp", "mv"),
    "tac",
    *("wc", "head", "tail", "sort", "grep", "tr", "sed", "cut", "date", "touch", "seq", "stat", "chmod", "find", "ln"),
)
PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
SERVICES = ("s3", "sts", "secretsmanager", "sagemaker", "iam")
_LEFT_OUT = re.compile(
    r"/(__pycache__|test|tests|idlelib|ensurepip|tkinter|site-packages|config-3[^/]*|turtledemo)(/|$)"
)
_FOREIGN = re.compile(r"(_ssl|_hashlib|_ctypes|_sqlite3|_bz2|_lzma|zlib|_uuid)\..*\.so$")
"""The parts of the standard library that load foreign libraries and that somebody here uses."""
_LIBRARY = re.compile(r"(/[^\s()]+)(?: \(0x|$)")
_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234:app:/home/app:/bin/sh\n"


def configure() -> None:
    """Have podman run containers with runc where that is there, and with limits that this process may hand down."""
    directory = Path(tempfile.gettempdir(), f"lyftlearn-test-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    limits = '["nofile=1024:4096", "nproc=1024:1024"]'
    text = f"[containers]\ndefault_ulimits = {limits}\n[engine]\n{runtime}"
    draft = directory / f"containers.{os.getpid()}"
    draft.write_text(text)
    draft.replace(directory / "containers.conf")
    os.environ["CONTAINERS_CONF"] = str(directory / "containers.conf")


@cache
def engine() -> Engine | str:
    """What runs images here, or why nothing does. It is tried: an engine may answer and run nothing."""
    configure()
    found = find_engine("auto")
    if isinstance(found, str):
        return found
    try:
        name = python_image(found)
    except subprocess.CalledProcessError as error:
        return f"{found.kind} makes no image: {error.stderr.decode()[-300:]}"
    tried = subprocess.run(
        [found.program, "run", "--rm", "--network", "host", name, "true"], capture_output=True, check=False
    )
    return found if tried.returncode == 0 else f"{found.kind} runs nothing: {tried.stderr.decode()[-300:]}"


def require_engine() -> Engine:
    """Leave a test out, and say why, where no image can be run."""
    found = engine()
    if isinstance(found, str):
        pytest.skip(f"runs images: {found}")
    return found


def python_image(found: Engine) -> str:
    """Return the image's name; it is made once on a machine, and again when what it is made of changes."""
    content = repr((sys.version, sys.base_prefix, boto3.__version__, Path(__file__).read_bytes()))
    name = f"{NAME}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    with Path(tempfile.gettempdir(), f"lyftlearn-test-image-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run([found.program, "image", "inspect", name], capture_output=True, check=False).returncode:
            import_image(found, name, files())
    return name


def import_image(found: Engine, name: str, content: Mapping[str, Path | bytes | str], *changes: str) -> None:
    """Make an image of one layer. content: path inside to a file here, a text, or where a link leads."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as layer:
            for inside, outside in sorted(content.items()):
                _add(layer, inside, outside)
        archive.seek(0)
        options = [word for change in changes for word in ("--change", change)]
        subprocess.run([found.program, "import", *options, "-", name], stdin=archive, capture_output=True, check=True)


def _add(layer: tarfile.TarFile, inside: str, outside: Path | bytes | str) -> None:
    if isinstance(outside, Path):
        layer.add(outside.resolve(), inside, recursive=False)
        return
    member = tarfile.TarInfo(inside)
    if isinstance(outside, bytes):
        member.size, member.mode = len(outside), 0o644
        layer.addfile(member, io.BytesIO(outside))
    elif outside:
        member.type, member.linkname = tarfile.SYMTYPE, outside
        layer.addfile(member)
    else:
        member.type, member.mode = tarfile.DIRTYPE, 0o1777
        layer.addfile(member)


def files() -> dict[str, Path | bytes | str]:
    """Return what is in the image."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = Path(sys.base_prefix, "bin", version)
    stdlib = {str(path): path for path in _below(Path(sysconfig.get_path("stdlib")))}
    programs = {f"/bin/{name}": Path(shutil.which(name) or "/bin/sh") for name in PROGRAMS}
    packages = dict(_packages(Path(boto3.__file__).parents[1], f"{sysconfig.get_path('stdlib')}/{_packages_name()}"))
    loads = [python, *programs.values(), *(path for path in stdlib.values() if _FOREIGN.match(path.name))]
    made: dict[str, Path | bytes | str] = {**stdlib, **programs, **packages, **_libraries(loads)}
    made |= {
        str(python): python,
        "/tmp": "",
        "/etc/passwd": _PASSWD.encode(),
        "/etc/group": b"root:x:0:\napp:x:1234:\n",
    }
    return made | {
        path: str(python)
        for path in ("/usr/bin/python", "/usr/bin/python3", f"/usr/bin/{version}")
        if path != str(python)
    }


def _packages_name() -> str:
    return "dist-packages" if Path("/etc/debian_version").exists() and sys.base_prefix == "/usr" else "site-packages"


def _below(top: Path) -> Iterator[Path]:
    for path in sorted(top.rglob("*")):
        if path.is_file() and not _LEFT_OUT.search(str(path.relative_to(top.parent))[len(top.name) :]):
            yield path


def _packages(site: Path, inside: str) -> Iterator[tuple[str, Path]]:
    data = Path(botocore.__file__).parent / "data"
    for name in PACKAGES:
        for path in [site / name] if (site / name).is_file() else sorted((site / name).rglob("*")):
            service = path.relative_to(data).parts[:1] if path.is_relative_to(data) else ()
            needed = path.parent == data or not service or service[0] in SERVICES
            if path.is_file() and needed and "__pycache__" not in path.parts:
                yield f"{inside}/{path.relative_to(site)}", path


def _libraries(programs: list[Path]) -> dict[str, Path]:
    """Return the shared libraries that programs load, at the paths where the loader looks for them."""
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    paths = {match[1] for line in listed.splitlines() if line.startswith("\t") and (match := _LIBRARY.search(line))}
    return {path: Path(path) for path in paths}
