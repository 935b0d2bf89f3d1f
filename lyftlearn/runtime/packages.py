"""What the source requires: installed once for each content, Python and platform, and kept in the storage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from .faults import RuntimeFailure, configuration_failure
from .storage import store_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bundle import Bundle
    from .layout import Layout

DIRECTORY = "packages"
FILES = ("pylock.toml", "uv.lock", "requirements.txt")
"""What is looked for in the source; the first one counts."""
MOST_LINES = 12
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_DESCRIBE = "import sys, sysconfig; print(sys.executable, sys.version, sysconfig.get_platform(), sep='|')"


def install(bundle: Bundle, layout: Layout, variables: Mapping[str, str]) -> str | None:
    """Return the directory with what the source requires; None where it requires nothing, or nobody asked.

    variables: of the command; they say which Python it has, and which index. Raises RuntimeFailure, with reason
    configuration and the installer's last words, before the command starts.
    """
    wanted = bundle["packages"]
    path = _requirements(layout.at("source")) if wanted else None
    if not wanted or path is None:
        return None
    environ = {**variables, **({"PIP_INDEX_URL": wanted["index"]} if wanted.get("index") else {})}
    python = shutil.which("python3", path=variables.get("PATH")) or sys.executable
    kept = f"{wanted['uri'].rstrip('/')}/{_digest(path, python, environ)}.tar.gz"
    target = layout.at(DIRECTORY)
    if not _restore(kept, target):
        _install(path, python, environ, target)
        _keep(target, kept)
    return target


def _requirements(source: str) -> str | None:
    paths = (os.path.join(source, name) for name in FILES)
    return next((path for path in paths if os.path.isfile(path)), None)


def _digest(path: str, python: str, environ: Mapping[str, str]) -> str:
    """What the outcome depends on: the file, its Python and platform, and where packages come from."""
    import hashlib

    described = _run([python, "-I", "-c", _DESCRIBE], environ)
    index = environ.get("PIP_INDEX_URL", "") + "|" + environ.get("PIP_EXTRA_INDEX_URL", "")
    digest = hashlib.sha256(f"{os.path.basename(path)}|{described}|{index}|".encode())
    for name in (path, os.path.join(os.path.dirname(path), "pyproject.toml")):
        if os.path.isfile(name):
            with open(name, "rb") as file:
                digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def _restore(kept: str, target: str) -> bool:
    """Whether an earlier job has kept them. What cannot be unpacked is made anew."""
    from .archives import unpack
    from .transfer import LocalCopy

    _remove(target)
    with LocalCopy(kept, target) as path:
        if path is None:
            return False
        try:
            unpack(path, target, called=kept)
        except RuntimeFailure as failure:
            print(f"lyftlearn: {kept} is made anew: {failure}", file=sys.stderr, flush=True)
            _remove(target)
            return False
    return True


def _install(path: str, python: str, environ: Mapping[str, str], target: str) -> None:
    """Install beside the target and move it there, so that a killed install leaves nothing that looks whole."""
    part = f"{target}.part"
    _remove(part)
    uv = shutil.which("uv", path=environ.get("PATH"))
    if path.endswith("uv.lock"):
        path = _export(_need_uv(uv, path), path, environ, f"{target}.txt")
    if path.endswith("pylock.toml"):
        _need_uv(uv, path)
    if uv:
        index = {"UV_INDEX_URL": environ["PIP_INDEX_URL"]} if environ.get("PIP_INDEX_URL") else {}
        command = [uv, "pip", "install", "--no-cache", "--python", python, "--target", part, "-r", path]
        _run(command, {**environ, **index})
    else:
        _need_pip(python, environ)
        options = ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--target", part]
        _run([python, "-m", "pip", "install", *options, "-r", path], environ)
    os.makedirs(part, exist_ok=True)
    os.rename(part, target)


def _need_uv(uv: str | None, path: str) -> str:
    if uv is None:
        name = os.path.basename(path)
        raise configuration_failure(
            f"packages: {name} needs `uv`, which the image does not have: put uv into the image, or export {name} "
            "to requirements.txt"
        )
    return uv


def _need_pip(python: str, environ: Mapping[str, str]) -> None:
    try:
        _run([python, "-m", "pip", "--version"], environ)
    except RuntimeFailure as error:
        raise configuration_failure(
            f"packages: the image has neither `uv` nor `{python} -m pip`: put one of them into the image"
        ) from error


def _export(uv: str, lock: str, environ: Mapping[str, str], path: str) -> str:
    """Return a file of requirements that says what the lock file does."""
    directory = os.path.dirname(lock)
    _run([uv, "export", "--frozen", "--no-emit-project", "--directory", directory, "-q", "-o", path], environ)
    return path


def _run(command: list[str], environ: Mapping[str, str]) -> str:
    """Return what a program printed. Raises RuntimeFailure with its last words, and without a password of a URL."""
    try:
        done = subprocess.run(
            command,
            check=False,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise configuration_failure(f"packages: {command[0]} cannot be run: {error.strerror}") from error
    text = _CREDENTIALS.sub("", done.stdout.decode("utf-8", "replace")).strip()
    if done.returncode:
        last = "\n".join(text.splitlines()[-MOST_LINES:])
        raise configuration_failure(f"packages: `{os.path.basename(command[0])}` cannot install them:\n{last}")
    return text


def _keep(target: str, kept: str) -> None:
    """Pack for the jobs that come. Of nodes that do so at once each writes the whole, under the same name."""
    from .archives import pack

    sink = store_for(kept).sink(kept)
    try:
        pack(target, sink)
        sink.commit()
    except BaseException:
        sink.abort()
        raise


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
