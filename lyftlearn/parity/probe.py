"""Everything a program can observe of where it runs, as JSON: the instrument that compares substrates.

A script that runs by its path, beside `redaction.py`, on any Python from 3.8 on, with the standard library only:
`python probe.py [FILE]`. What could be secret never leaves: `redaction.py` hides it under the key in the variable
PARITY_KEY.
"""

from __future__ import annotations

import json
import locale
import os
import platform
import pwd
import re
import resource
import socket
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from lyftlearn.parity.redaction import Redactor
else:
    sys.dont_write_bytecode = True  # what is observed is not to hold traces of the observer
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from redaction import Redactor

KEY = "PARITY_KEY"
ROOT = "/lyftlearn"
LARGEST = 64 << 20
"""Bytes up to which a file's content is compared."""
LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it
STATSD_PACKETS = 3


def redactor() -> Redactor:
    """Make one for this container. Without a key of the run nothing can be compared, and nothing is told either."""
    key = os.environ.get(KEY, "").encode() or os.urandom(16)
    masks = {os.environ.get("LYFTLEARN_JOB_ID", ""): "<job>", socket.gethostname(): "<host>"}
    return Redactor(key[:64], [content(path) for path in _secret_files().values()], masks)


def observe(redact: Redactor, statsd: str = "") -> dict[str, Any]:
    """All observations, by subject. statsd: the name of a counter to send."""
    environment = {name: value for name, value in os.environ.items() if name != KEY}
    return {
        "arguments": {str(number): redact.text(word) for number, word in enumerate(sys.argv[1:])},
        "environment": {name: redact.variable(name, value) for name, value in environment.items()},
        "files": files(ROOT, redact),
        "process": process(redact),
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in LIMITS},
        "signals": signals(),
        "descriptors": descriptors(),
        "machine": machine(),
        "tree": tree(),
        "names": names(),
        "secrets": secrets(redact),
        "image": image(),
        "host": {"name": socket.gethostname(), "kernel": platform.release(), "links": links(ROOT, redact)},
        **({"statsd": send_packets(statsd)} if statsd else {}),
    }


def files(top: str, redact: Redactor) -> dict[str, dict[str, Any]]:
    """Every file and directory of the contract, links followed."""
    found = {}
    for directory, folders, members in os.walk(top, followlinks=True):
        folders.sort()
        for name in sorted(folders + members):
            path = os.path.join(directory, name)
            found[path] = describe(path, redact)
    return found


def describe(path: str, redact: Redactor) -> dict[str, Any]:
    """Kind, mode, owner, and a fingerprint of the content."""
    try:
        seen = os.stat(path)
    except OSError as error:
        return {"error": error.strerror}
    facts: dict[str, Any] = {"mode": stat.filemode(seen.st_mode), "uid": seen.st_uid, "gid": seen.st_gid}
    facts["writable"] = writable(path, seen)
    if stat.S_ISREG(seen.st_mode):
        facts["size"] = seen.st_size
        facts["content"] = fingerprint_of(path, redact)
    return facts


def writable(path: str, seen: os.stat_result) -> bool:
    """Whether mode, owner and file system let this process write. Root may always, and says nothing of a file."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return False
    if seen.st_uid == os.geteuid():
        return bool(seen.st_mode & stat.S_IWUSR)
    ours = seen.st_gid == os.getegid() or seen.st_gid in os.getgroups()
    return bool(seen.st_mode & (stat.S_IWGRP if ours else stat.S_IWOTH))


def fingerprint_of(path: str, redact: Redactor) -> str | None:
    """Of a file's bytes; None where there are too many to read."""
    return redact.fingerprint(content(path)) if os.path.getsize(path) <= LARGEST else None


def content(path: str) -> bytes:
    """A file's bytes; of one that cannot be read, why."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return str(error.strerror).encode()


def links(top: str, redact: Redactor) -> dict[str, str]:
    """Where links lead."""
    paths = [
        os.path.join(directory, name) for directory, folders, members in os.walk(top) for name in folders + members
    ]
    return {path: redact.text(os.readlink(path)) for path in sorted(paths) if os.path.islink(path)}


def process(redact: Redactor) -> dict[str, Any]:
    """Who runs, where, and how it was started."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "cwd": redact.text(os.getcwd()),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "effective": [os.geteuid(), os.getegid()],
        "groups": sorted({*os.getgroups()} - {os.getegid()}),  # POSIX leaves open whether its own is among them
        "account": _account(),
        "umask": f"{mask:04o}",
        "session_leader": os.getsid(0) == os.getpid(),
        "group_leader": os.getpgrp() == os.getpid(),
        "nice": os.nice(0),
        "stdin": sys.stdin.read(),
        "terminals": [os.isatty(number) for number in range(3)],
        "encoding": [sys.getfilesystemencoding(), sys.stdout.encoding, locale.getpreferredencoding(False)],
        "locale": list(locale.getlocale()),
        "time_zone": [*time.tzname, time.timezone],
        **_status("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"),
    }


def _account() -> str | None:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


def _status(*wanted: str) -> dict[str, str]:
    """Rows of the kernel's page about this process."""
    with open("/proc/self/status", encoding="utf-8") as file:
        rows = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in rows if name in wanted}


def signals() -> dict[str, str]:
    """The masks that a program inherits."""
    return _status("SigBlk", "SigIgn")


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
    """The CPU, memory and disk that a program believes it has."""
    shared = os.statvfs(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
    return {
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "shared_memory": {
            "size": shared.f_blocks * shared.f_frsize if shared else 0,
            "mode": stat.filemode(os.stat(SHARED_MEMORY).st_mode) if shared else None,
            "writable": os.access(SHARED_MEMORY, os.W_OK),
        },
        "disk": {name: _disk(path) for name, path in sorted(_directories().items())},
        "group": control_group(),
    }


def _directories() -> dict[str, str]:
    given = ("TMPDIR", "HOME", "LYFTLEARN_MODEL_DIR", "LYFTLEARN_OUTPUTS_DIR", "LYFTLEARN_CHECKPOINTS_DIR")
    return {name: os.environ[name] for name in given if name in os.environ}


def _disk(path: str) -> dict[str, Any]:
    try:
        seen = os.statvfs(path)
    except OSError as error:
        return {"error": error.strerror}
    return {"size": seen.f_blocks * seen.f_frsize, "writable": os.access(path, os.W_OK)}


def control_group() -> dict[str, str]:
    """The limits that the kernel tells, of version 1 or 2."""
    places = [row.strip().split(":", 2) for row in content("/proc/self/cgroup").decode().splitlines()]
    found = {}
    for _, controllers, path in places:
        top = f"/sys/fs/cgroup/{controllers}".rstrip("/")
        for name in ("memory.max", "cpu.max", "pids.max", "memory.limit_in_bytes", "cpu.cfs_quota_us", "pids.limit"):
            for directory in (top + path, top):
                if name not in found and os.path.exists(f"{directory}/{name}"):
                    found[name] = content(f"{directory}/{name}").decode().strip()
    return found


def tree() -> dict[str, Any]:
    """The processes above this one, and those beside it, by their names."""
    seen = {int(name): parent for name in os.listdir("/proc") if name.isdigit() for parent in [_parent(name)] if parent}
    above = []
    number = seen.get(os.getpid(), ("", 0))[1]
    while number in seen:
        above.append(number)
        number = seen[number][1]
    beside = sorted(seen[number][0] for number in seen if number not in above and number != os.getpid())
    return {"above": [seen[number][0] for number in above], "beside": beside}


def _parent(number: str) -> tuple[str, int] | None:
    """The name of a process and its parent; None once it is gone."""
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return None
    return re.sub(r"^python[\d.]*$", "python", name), int(rest.split()[1])


def names() -> dict[str, Any]:
    """What the names that a program needs resolve to."""
    hosts = os.environ.get("LYFTLEARN_HOSTS", "").split(",")
    found: dict[str, Any] = {"localhost": addresses("localhost"), "own": kinds(socket.gethostname())}
    found.update({f"node {rank}": kinds(host) for rank, host in enumerate(filter(None, hosts))})
    return found


def addresses(name: str) -> list[str]:
    """The addresses of `name`; why there are none."""
    try:
        return sorted({str(answer[4][0]) for answer in socket.getaddrinfo(name, None)})
    except OSError as error:
        return [f"not found: {error.strerror or error}"]


def kinds(name: str) -> list[str]:
    """The kinds of the addresses of `name`, which differ from run to run themselves."""
    found = addresses(name)
    return sorted(
        {"loopback" if text.startswith(("127.", "::1")) else text if " " in text else "other" for text in found}
    )


def _secret_files() -> dict[str, str]:
    top = os.environ.get("LYFTLEARN_SECRETS_DIR", "")
    paths = [os.path.join(place, name) for place, _, members in os.walk(top, followlinks=True) for name in members]
    return {os.path.relpath(path, top).replace(os.sep, " "): path for path in sorted(paths)}


def secrets(redact: Redactor) -> dict[str, Any]:
    """The shape of every secret, as a file and as a variable."""
    found = {}
    for name, path in _secret_files().items():
        value, variable = content(path), os.environ.get(os.path.basename(path))
        seen = os.stat(path)
        found[name] = {
            **redact.shape(value),
            "mode": stat.filemode(seen.st_mode),
            "mine": seen.st_uid == os.getuid(),
            "in_memory": _file_system(path) in ("tmpfs", "ramfs"),
            "variable": None if variable is None else redact.shape(os.fsencode(variable)),
            "agree": None if variable is None else os.fsencode(variable) == value,
        }
    return found


def _file_system(path: str) -> str:
    """The kind of file system that a path is on."""
    where, best, kind = os.path.realpath(path), "", ""
    for row in content("/proc/self/mountinfo").decode().splitlines():
        fields, _, after = row.partition(" - ")
        place = fields.split()[4]
        inside = where == place or where.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, after.split()[0]
    return kind


def image() -> dict[str, Any]:
    """What the image brings: another one under the same name is the first suspect."""
    from importlib import metadata  # noqa: PLC0415 - 20 ms, and only here

    packages = {(found.metadata["Name"] or "?"): found.version for found in metadata.distributions()}
    rows = [row.partition("=") for row in content("/etc/os-release").decode().splitlines()]
    release = {name: value for name, _, value in rows}
    return {
        "python": platform.python_version(),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "packages": dict(sorted(packages.items())),
    }


def send_packets(counter: str) -> dict[str, Any]:
    """Count a few times as a program does; the gateway says how many of them came."""
    host, port = os.environ.get("STATSD_HOST", ""), os.environ.get("STATSD_PORT", "")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((host, int(port or 0)))
            for _ in range(STATSD_PACKETS):
                sender.send(f"{counter}:1|c|#parity:yes".encode())
                time.sleep(0.05)  # so that a refusal of the packet before can be seen
            refused = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except (OSError, ValueError) as error:
        return {"host": host, "sent": str(error)}
    return {"host": host, "sent": STATSD_PACKETS, "refused": bool(refused)}


def main() -> None:
    """Print, or write to the file that is named."""
    text = json.dumps(observe(redactor()), sort_keys=True)
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
