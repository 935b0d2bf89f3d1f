"""Namespaces through bubblewrap: a root of the job's own, with this machine's directories and the contract's paths in it."""

from __future__ import annotations

import os
import shutil
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OWN_MOUNTS = frozenset(("/dev", "/proc", "/lyftlearn"))
PROBE_SECONDS = 10
REMEDY = "install bubblewrap (`apt-get install bubblewrap`) and allow user namespaces"


def unusable() -> str | None:
    """Why namespaces cannot be had here, or None if they can."""
    program = shutil.which("bwrap")
    if program is None:
        return f"bwrap is not installed: {REMEDY}"
    try:
        tried = subprocess.run(
            [program, *_NAMESPACES, *_root(()), "/bin/true"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap cannot be run ({error}): {REMEDY}"
    return None if tried.returncode == 0 else f"bwrap fails ({tried.stderr.strip()[:200]}): {REMEDY}"


def wrap(
    program: str,
    command: Sequence[str],
    *,
    binds: Sequence[tuple[str, str]],
    shared_memory: int | None,
    user: tuple[int, int] | None,
    hostname: str | None,
    info: int,
) -> list[str]:
    """Return `command` inside namespaces that end with their parent.

    program: bubblewrap. binds: (path on this machine, path inside). shared_memory: bytes of /dev/shm. info: descriptor to which bwrap tells the
    pid of the command, which is PID 1 inside.
    """
    argv = [program, *_NAMESPACES, "--as-pid-1", "--info-fd", str(info), *_root(tuple(inside for _, inside in binds))]
    if shared_memory:
        argv += ["--size", str(shared_memory)]
    argv += ["--tmpfs", "/dev/shm"]  # noqa: S108 - the kernel's name for it
    for outside, inside in binds:
        argv += ["--bind", outside, inside]
    if user:
        argv += ["--unshare-user", "--uid", str(user[0]), "--gid", str(user[1])]
    if hostname:
        argv += ["--unshare-uts", "--hostname", hostname]
    return [*argv, "--chdir", "/", "--", *command]


_NAMESPACES = ("--die-with-parent", "--unshare-pid", "--unshare-ipc")


def _root(own: tuple[str, ...]) -> list[str]:
    """A root in memory whose directories are this machine's: only so can it have directories of the job's own."""
    mounts = ["--tmpfs", "/"]
    for source in _top_level():
        if source not in OWN_MOUNTS and source not in own:
            mounts += _same(source)
    return [*mounts, "--dev-bind", "/dev", "/dev", "--proc", "/proc"]


def _top_level() -> Iterator[str]:
    yield from sorted(os.path.join("/", name) for name in os.listdir("/"))


def _same(path: str) -> list[str]:
    if os.path.islink(path):
        return ["--symlink", os.readlink(path), path]
    return ["--bind-try", path, path]
