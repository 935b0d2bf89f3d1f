"""Namespaces through bubblewrap: a root of the job's own, with this machine's directories and the contract's paths."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lyftlearn_local.layouts.layout import ContainerLayout

PROBE_SECONDS = 10
REMEDY = "install bubblewrap (`apt-get install bubblewrap`) and allow user namespaces"
_NAMESPACES = ("--die-with-parent", "--unshare-pid", "--unshare-ipc", "--as-pid-1")
_KERNEL_MADE = (Path("/dev"), Path("/proc"))


def unusable() -> str | None:
    """Why namespaces cannot be had here, or None if they can."""
    program = shutil.which("bwrap")
    if program is None:
        return f"bwrap is not installed: {REMEDY}"
    command = [program, *_NAMESPACES, *_root(()), "--proc", "/proc", "/bin/true"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap cannot be run ({error}): {REMEDY}"
    return None if tried.returncode == 0 else f"bwrap fails ({tried.stderr.strip()[:200]}): {REMEDY}"


def wrap(
    program: str, command: Sequence[str], layout: ContainerLayout, *, shared_memory: int | None, info: int
) -> list[str]:
    """Return `command` inside namespaces that end with their parent.

    program: bubblewrap. shared_memory: bytes of /dev/shm. info: descriptor to which bubblewrap tells the pid of the
    command, which is PID 1 inside.
    """
    mounts = [("--bind", *pair) for pair in layout.binds] + [("--ro-bind", *pair) for pair in layout.readonly]
    inside = [Path(mount[2]).resolve() for mount in mounts]
    argv = [program, *_NAMESPACES, "--info-fd", str(info), *_root(inside)]
    argv += ["--dev", "/dev"] if layout.own_devices else ["--dev-bind", "/dev", "/dev"]
    argv += ["--proc", "/proc"]
    if shared_memory:
        argv += ["--size", str(shared_memory)]
    argv += ["--tmpfs", "/dev/shm"]  # noqa: S108 - the kernel's name for it
    for (option, outside, _), target in zip(mounts, inside, strict=True):
        argv += [option, outside, str(target)]
    return [*argv, *_identity(layout), "--chdir", "/", "--", *command]


def _identity(layout: ContainerLayout) -> list[str]:
    argv = []
    if layout.user:
        argv += ["--unshare-user", "--uid", str(layout.user[0]), "--gid", str(layout.user[1])]
    if layout.hostname:
        argv += ["--unshare-uts", "--hostname", layout.hostname]
    return argv


def _root(added: Iterable[Path]) -> list[str]:
    """A root in memory that shows this machine's: only so can it have what this machine has not."""
    missing = [path for path in added if not path.exists()]
    return _copy_of(Path("/"), missing)


def _copy_of(directory: Path, missing: Sequence[Path]) -> list[str]:
    mounts = ["--tmpfs", str(directory)]
    for child in sorted(directory.iterdir()):
        if child in _KERNEL_MADE:
            continue
        if not child.is_symlink() and any(path.is_relative_to(child) for path in missing):
            mounts += _copy_of(child, missing)
        else:
            mounts += _shown(child)
    return mounts


def _shown(path: Path) -> list[str]:
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--bind-try", str(path), str(path)]
