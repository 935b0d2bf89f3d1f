"""Everything a program can observe of where it runs, as JSON: the instrument that compares substrates.

A script that runs by its path on any Python from 3.8 on, with the standard library only: `python probe.py [FILE]`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHOLE_CONTENT = 4096
"""Bytes up to which a file's content is told."""
ROOT = "/lyftlearn"
LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it


def observe() -> dict[str, Any]:
    """All observations, by subject."""
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "files": files(ROOT),
        "process": process(),
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in LIMITS},
        "signals": signals(),
        "descriptors": descriptors(),
        "machine": machine(),
        "host": {"name": socket.gethostname(), "kernel": platform.release(), "links": links(ROOT)},
    }


def files(top: str) -> dict[str, dict[str, Any]]:
    """Every file and directory of the contract, links followed."""
    found = {}
    for directory, folders, names in os.walk(top, followlinks=True):
        folders.sort()
        for name in sorted(folders + names):
            path = os.path.join(directory, name)
            found[path] = describe(path)
    return found


def describe(path: str) -> dict[str, Any]:
    """Kind, mode, owner, and the content of what is short."""
    try:
        seen = os.stat(path)
    except OSError as error:
        return {"error": error.strerror}
    facts: dict[str, Any] = {"mode": stat.filemode(seen.st_mode), "uid": seen.st_uid, "gid": seen.st_gid}
    facts["writable"] = os.access(path, os.W_OK)
    if stat.S_ISREG(seen.st_mode):
        facts["size"] = seen.st_size
        facts["content"] = content(path) if seen.st_size <= WHOLE_CONTENT else None
    return facts


def content(path: str) -> str:
    """A file's text, whatever its encoding."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "backslashreplace")
    except OSError as error:
        return str(error.strerror)


def links(top: str) -> dict[str, str]:
    """Where links lead."""
    paths = [os.path.join(directory, name) for directory, folders, names in os.walk(top) for name in folders + names]
    return {path: os.readlink(path) for path in sorted(paths) if os.path.islink(path)}


def process() -> dict[str, Any]:
    """Who runs, where, and how it was started."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "cwd": os.getcwd(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": sorted(os.getgroups()),
        "umask": f"{mask:04o}",
        "session_leader": os.getsid(0) == os.getpid(),
        "group_leader": os.getpgrp() == os.getpid(),
        "parent": os.getppid(),
        "nice": os.nice(0),
        "stdin": sys.stdin.read(),
        "terminals": [os.isatty(number) for number in range(3)],
        "encoding": sys.getfilesystemencoding(),
    }


def signals() -> dict[str, str]:
    """The masks that a program inherits."""
    with open("/proc/self/status", encoding="utf-8") as file:
        rows = [line.split(":\t") for line in file if line.startswith("Sig")]
    return {name: value.strip() for name, value in rows if name in ("SigBlk", "SigIgn")}


def descriptors() -> dict[str, str]:
    """What is open, by kind."""
    found = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            mode = os.fstat(int(name)).st_mode
        except OSError:  # the listing's own
            continue
        found[name] = stat.filemode(mode)[0]
    return found


def machine() -> dict[str, Any]:
    """The CPU and memory that a program believes it has."""
    memory = os.statvfs(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
    return {
        "cpus": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "shared_memory": memory.f_blocks * memory.f_frsize if memory else 0,
    }


def main() -> None:
    """Print, or write to the file that is named."""
    text = json.dumps(observe(), sort_keys=True)
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
