"""What the source requires: installed once for each content, Python and platform, and kept in the storage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial

from .archives import BadArchive
from .faults import RuntimeFailure, configuration_failure
from .packing import pack_to
from .spawn import change_user
from .storage import disk_failure
from .transfer import unpack_at
from .tree import FILE, Tree, warn_on_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bundle import Bundle
    from .layout import Layout

DIRECTORY = "packages"
FILES = ("pylock.toml", "uv.lock", "requirements.txt")
"""What is looked for in the source; the first one counts."""
MOST_LINES = 12
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_OTHER_FILES = re.compile(
    r"""^\s*(-[rcef]\s|--(requirement|constraint|editable|find-links)\b|\.)|file:|@\s*\.|\b(directory|editable|path)\s*=""",
    re.MULTILINE,
)
"""What a file has that names other files of the source."""
_DESCRIBE = """
import sys, sysconfig
print(sys.executable, sys.version, sysconfig.get_platform(), sysconfig.get_config_var("SOABI"), sep="|")
"""
_BYTECODE = ("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
"""Files get new times when they are unpacked; bytecode of this kind does not look at them."""


def install(bundle: Bundle, layout: Layout, variables: Mapping[str, str]) -> str | None:
    """Return the directory with what the source requires; None where it requires nothing, or nobody asked.

    variables: of the command; they say which Python it has, and which index. Raises RuntimeFailure, with reason
    configuration and the installer's last words, before the command starts.
    """
    settings = bundle["packages"]
    path = _requirements(layout.at("source")) if settings else None
    if path is None:
        return None
    installer = _Installer(path, _with_index(variables, settings.get("index")), bundle["user"])
    kept = f"{settings['uri'].rstrip('/')}/{installer.digest()}.tar.gz"
    target = layout.at(DIRECTORY)
    _remove(target)
    try:
        if unpack_at(kept, target):
            return target
        only_new = True
    except BadArchive as error:
        warn_on_stderr(f"{kept} is made anew: {error}")
        only_new = False
    installer.install(target)
    _keep(target, kept, only_new)
    return target


def _requirements(source: str) -> str | None:
    paths = (os.path.join(source, name) for name in FILES)
    return next((path for path in paths if os.path.isfile(path)), None)


def _with_index(variables: Mapping[str, str], index: str | None) -> dict[str, str]:
    """The variables with the index as `pip` and as `uv` read it. `uv` fetches no Python of its own."""
    environ = {**variables, "UV_PYTHON_DOWNLOADS": "never"}
    if index:
        environ["PIP_INDEX_URL"] = index
    for name, names in (
        ("PIP_INDEX_URL", ("UV_INDEX_URL", "UV_DEFAULT_INDEX")),
        ("PIP_EXTRA_INDEX_URL", ("UV_EXTRA_INDEX_URL",)),
    ):
        environ.update(dict.fromkeys(names, environ[name]) if environ.get(name) else {})
    return environ


class _Installer:
    """`uv` or `pip` of the image, in the source, as the job's user: what is installed may run programs of its own."""

    def __init__(self, path: str, environ: Mapping[str, str], user: dict[str, int] | None) -> None:
        self._path = path
        self._source = os.path.dirname(path)
        self._environ = environ
        self._user = user if os.geteuid() == 0 else None
        self._python = shutil.which("python3", path=environ.get("PATH")) or sys.executable
        self._uv = shutil.which("uv", path=environ.get("PATH"))

    def digest(self) -> str:
        """What the outcome depends on: the files, their Python and platform, and where packages come from."""
        import hashlib

        described = self._run([self._python, "-I", "-c", _DESCRIBE])
        indexes = [self._environ.get(name, "") for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")]
        digest = hashlib.sha256(_without_credentials("|".join([described, *indexes])).encode())
        for path in self._files():
            with open(path, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
            digest.update(f"|{os.path.relpath(path, self._source)}|{content}".encode())
        return digest.hexdigest()

    def _files(self) -> list[str]:
        """The file, a lock's project, and where one of them names files of the source, every file there."""
        paths = [self._path, os.path.join(self._source, "pyproject.toml")]
        paths = [path for path in paths if os.path.isfile(path)]
        for path in paths:
            with open(path, encoding="utf-8", errors="replace") as file:
                if _OTHER_FILES.search(file.read()):
                    return [entry.path for entry in Tree(self._source).entries() if entry.kind == FILE]
        return paths

    def install(self, target: str) -> None:
        """Install beside the target and move it there, so that a killed install leaves nothing that looks whole."""
        part = f"{target}.part"
        _remove(part)
        try:
            self._make(part)
            if self._uv:
                self._install_with_uv(self._uv, part)
            else:
                self._install_with_pip(part)
            self._run([self._python, "-I", *_BYTECODE, part], must_succeed=False)
            os.rename(part, target)
        except OSError as error:
            raise disk_failure(error, f"packages: writing {target}") from error

    def _make(self, directory: str) -> None:
        os.mkdir(directory)
        if self._user:
            os.chown(directory, self._user["uid"], self._user["gid"])

    def _install_with_uv(self, uv: str, target: str) -> None:
        options = ["--no-cache", "--python", self._python]
        path = self._path
        if path.endswith("uv.lock"):
            path = f"{target}.txt"
            leave_out = ["--no-dev", "--no-emit-project"]
            self._run([uv, "export", *options, "--frozen", *leave_out, "--no-header", "-q", "-o", path])
        self._run([uv, "pip", "install", *options, "--target", target, "-r", path])

    def _install_with_pip(self, target: str) -> None:
        name = os.path.basename(self._path)
        if name != "requirements.txt":
            raise configuration_failure(
                f"packages: {name} needs `uv`, which the image does not have: put uv into the image, or export {name} "
                "to requirements.txt"
            )
        try:
            self._run([self._python, "-I", "-m", "pip", "--version"])
        except RuntimeFailure as error:
            raise configuration_failure(
                f"packages: the image has neither `uv` nor `{self._python} -m pip`: put one of them into the image"
            ) from error
        options = ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--no-compile", "--target", target]
        self._run([self._python, "-I", "-m", "pip", "install", *options, "-r", self._path])

    def _run(self, command: list[str], *, must_succeed: bool = True) -> str:
        """Return what a program printed. Raises RuntimeFailure with its last words, without a password of a URL."""
        try:
            done = subprocess.run(
                command,
                check=False,
                env=dict(self._environ),
                cwd=self._source,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(change_user, self._user) if self._user else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise configuration_failure(f"packages: {command[0]} cannot be run: {error}") from error
        text = _without_credentials(done.stdout.decode("utf-8", "replace")).strip()
        if done.returncode and must_succeed:
            last = "\n".join(text.splitlines()[-MOST_LINES:])
            name = os.path.basename(command[0])
            raise configuration_failure(f"packages: `{name}` cannot install {os.path.basename(self._path)}:\n{last}")
        return text


def _without_credentials(text: str) -> str:
    return _CREDENTIALS.sub("", text)


def _keep(target: str, kept: str, only_new: bool) -> None:
    """Pack what was installed, for later jobs. Of several nodes the first counts. A failure does not end this job."""
    try:
        pack_to(kept, target, only_new=only_new)
    except RuntimeFailure as failure:
        warn_on_stderr(f"the packages are not kept for the next job: {failure}")


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
