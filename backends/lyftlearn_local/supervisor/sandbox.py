"""Namespaces through bubblewrap: a root of the job's own, with this machine's directories and the contract's paths."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout

PROBE_SECONDS = 60
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it
SHARED_MEMORY_MODE = "1777"
"""As every container engine mounts it: any user may make files there, and nobody may remove another's."""
REMEDY = "install bubblewrap (`apt-get install bubblewrap`) and allow user namespaces"
GAVE_UP = "bwrap: Can't"
"""With what it begins to say that it ran nothing, as when a mount goes that it was about to show."""
MORE_STARTS = 5
"""How often it is begun again then: what others mount and unmount is not a job's business."""
_NAMESPACES = ("--die-with-parent", "--unshare-pid", "--unshare-ipc", "--as-pid-1")
_KERNEL_MADE = ("/dev", "/proc")
RUN = "/run"
"""Where other programs mount and unmount all the time. One that goes while bubblewrap shows it breaks the start."""
_FROM_RUN = (
    "NetworkManager/resolv.conf",
    "connman",
    "current-system",
    "netconfig",
    "nscd",
    "nvidia-persistenced",
    "opengl-driver",
    "resolvconf",
    "systemd/resolve",
    "systemd/userdb",
)
"""What programs need of it: names of hosts and users, GPUs, and NixOS itself."""


AS_POD = ("--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-uts", "--hostname", "pod")
"""What a pod's layout needs beyond others, which is forbidden in a chroot and in some containers."""


def unusable(also: Sequence[str] = ()) -> str | None:
    """Why namespaces cannot be had here, or None if they can. also: what they must be able to do."""
    from shutil import which  # noqa: PLC0415 - a supervisor does not ask, and starts sooner without

    program = which("bwrap")
    if program is None:
        return f"bwrap is not installed: {REMEDY}"
    command = [program, *_NAMESPACES, *also, *_root(()), "--proc", "/proc", "/bin/true"]
    try:
        words = _refusal(command)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap cannot be run ({error}): {REMEDY}"
    return None if words is None else f"bwrap fails ({words[:200]}): {REMEDY}"


def _refusal(command: Sequence[str]) -> str | None:
    """Return what bubblewrap says against a command that it does not run; None if it does."""
    tried = _run(command)
    for _ in range(MORE_STARTS):
        if tried.returncode == 0 or not tried.stderr.startswith(GAVE_UP):
            break
        tried = _run(command)
    return tried.stderr.strip() if tried.returncode else None


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)


def sets_modes(program: str) -> bool:
    """Whether bubblewrap can give a directory a mode, as it can since version 0.5."""
    try:
        text = subprocess.run([program, "--help"], capture_output=True, timeout=PROBE_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"--perms" in text


def wrap(
    run: dict[str, Any], command: Sequence[str], layout: ContainerLayout, *, paths: Iterable[Path], info: int
) -> list[str]:
    """Return `command` inside namespaces that end with their parent.

    run: how the job is run; it names bubblewrap, and the bytes of /dev/shm. paths: what the job names below `/run`.
    info: descriptor to which bubblewrap tells the pid of the command, which is PID 1 inside.
    """
    mounts = [("--bind", *pair) for pair in layout.binds] + [("--ro-bind", *pair) for pair in layout.readonly]
    inside = [Path(mount[2]).resolve() for mount in mounts]
    argv = [run["namespaces"], *_NAMESPACES, "--info-fd", str(info), *_root(inside, paths)]
    argv += ["--dev", "/dev"] if layout.own_devices else ["--dev-bind", "/dev", "/dev"]
    argv += ["--proc", "/proc"]
    if run["shared_memory"]:
        argv += ["--size", str(run["shared_memory"])]
    if run.get("sets_modes"):
        argv += ["--perms", SHARED_MEMORY_MODE]
    else:
        command = _opening_shared_memory(command)
    argv += ["--tmpfs", SHARED_MEMORY]
    for (option, outside, _), target in zip(mounts, inside, strict=True):
        argv += [option, outside, str(target)]
    return [*argv, *_identity(layout), "--chdir", "/", "--", *command]


def _opening_shared_memory(command: Sequence[str]) -> list[str]:
    """Return `command` after a change of mode, for a bubblewrap that cannot mount with a mode."""
    script = f'chmod {SHARED_MEMORY_MODE} {SHARED_MEMORY} && exec "$@"'
    return ["/bin/sh", "-c", script, "sh", *command]


def _identity(layout: ContainerLayout) -> list[str]:
    argv = []
    if layout.user:
        argv += ["--unshare-user", "--uid", str(layout.user[0]), "--gid", str(layout.user[1])]
    if layout.hostname:
        argv += ["--unshare-uts", "--hostname", layout.hostname]
    return argv


def _root(added: Iterable[Path], paths: Iterable[Path] = ()) -> list[str]:
    """A root in memory that shows this machine's: only so can it have what this machine has not."""
    missing = [str(path) for path in added if not path.exists()]
    return _copy_of("/", missing, _below_run(paths))


def _copy_of(directory: str, missing: Sequence[str], below_run: Sequence[str] = ()) -> list[str]:
    mounts = ["--tmpfs", directory]
    with os.scandir(directory) as entries:
        children = sorted((entry.path, entry.is_symlink()) for entry in entries)
    for child, is_link in children:
        if child in _KERNEL_MADE:
            continue
        if child == RUN and not is_link and RUN not in below_run:
            mounts += ["--tmpfs", RUN, *(word for path in below_run for word in _bind(path, os.path.islink(path)))]  # noqa: PTH114 - texts
        elif not is_link and any(f"{path}/".startswith(f"{child}/") for path in missing):
            mounts += _copy_of(child, missing)
        else:
            mounts += _bind(child, is_link)
    return mounts


def _below_run(paths: Iterable[Path]) -> list[str]:
    """What is shown of `/run`: what programs need, and what the job names or, where that is to be made, its parent."""
    named = [path.resolve() for path in paths]
    parents = (next(part for part in (path, *path.parents) if part.exists()) for path in named)
    return [*(f"{RUN}/{name}" for name in _FROM_RUN), *(str(path) for path in parents if path.is_relative_to(RUN))]


def _bind(path: str, is_link: bool) -> list[str]:
    if is_link:
        return ["--symlink", os.readlink(path), path]  # noqa: PTH115 - texts
    return ["--bind-try", path, path]
