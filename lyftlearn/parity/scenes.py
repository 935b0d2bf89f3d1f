"""What the jobs of a comparison do in their containers: `python scenes.py SCENE[+SCENE...] [WORD ...]`.

Runs by its path beside `probe.py`, on any Python from 3.8 on, with the standard library only.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from lyftlearn.parity import probe, redaction
else:
    sys.dont_write_bytecode = True  # what is observed is not to hold traces of the observer
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import probe
    import redaction

REPORT = "parity.json"
COUNTER = "PARITY_COUNTER"
UP = "parity: up"
LARGE = 3 << 20
NODES = re.compile(
    r"LYFTLEARN_(NODE_RANK|NODES|HOSTS)|(PET_)?(NODE_RANK|NNODES|NPROC_PER_NODE|MASTER_ADDR|MASTER_PORT)"
)
PATIENCE = 120
"""Seconds for the nodes to find each other."""
SPECIAL = [
    ("first", b"plain"),
    ("empty-before", b"\n\n"),
    ("empty-after", b""),
    ("spaces", b"  indented, and three behind   "),
    ("tab", b"a\tb"),
    ("carriage-return", b"10%\r50%\r100%"),
    ("dos", b"ends with CR\r"),
    ("form-feed", b"a\x0cb"),
    ("separator", "a\u2028b\x1cc\x85d".encode()),
    ("unicode", "caf\u00e9 \u65e5\u672c\u8a9e \U0001f697 e\u0301".encode()),
    ("not-utf-8", b"\xff\xfe \xc3( cut: \xe2\x82"),
    ("colour", b"\x1b[31mred\x1b[0m"),
    ("json", b'{"level": "info", "msg": "x"}'),
    ("quotes", b"'\"\\ $HOME `id` %s {}"),
    ("report", b"lyftlearn/1 {}"),
]
LENGTHS = (1_000, 16_383, 16_384, 16_385, 100_000, 300_000)
"""Characters of long lines: about what container runtimes cut at (16 KiB), and a log service (256 KiB)."""
MANY = 5_000
ALTERNATIONS = 50


def observe() -> None:
    """Observe everything, and report it."""
    redact = probe.redactor()
    report = probe.observe(redact, os.environ.get(COUNTER, ""))
    write_report({**report, "hyperparameters": hyperparameters(redact), "inputs": inputs(redact)})


def hyperparameters(redact: redaction.Redactor) -> dict[str, str]:
    """Each as JSON text, so that 1, 1.0, true and "1" differ."""
    with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
        given = json.load(file)
    return {name: redact.text(json.dumps(value, sort_keys=True)) for name, value in given.items()}


def inputs(redact: redaction.Redactor) -> dict[str, dict[str, Any]]:
    """What is in each channel."""
    top = os.environ["LYFTLEARN_INPUTS_DIR"]
    return {channel: tree(os.path.join(top, channel), redact) for channel in sorted(os.listdir(top))}


def tree(top: str, redact: redaction.Redactor) -> dict[str, Any]:
    """Path to size and fingerprint of files, None for directories."""
    found: dict[str, Any] = {}
    for directory, folders, members in os.walk(top, followlinks=True):
        found.update({os.path.relpath(os.path.join(directory, name), top): None for name in folders})
        for name in members:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = [os.path.getsize(path), probe.fingerprint_of(path, redact)]
    return found


def write_report(report: dict[str, Any]) -> None:
    """Leave the report where it becomes an output of the job."""
    path = os.path.join(os.environ["LYFTLEARN_OUTPUTS_DIR"], "output", REPORT)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, sort_keys=True)


def artifacts() -> None:
    """Leave one of each kind of file in the model and in an output."""
    for top in (os.environ["LYFTLEARN_MODEL_DIR"], os.path.join(os.environ["LYFTLEARN_OUTPUTS_DIR"], "output")):
        for name, data, mode in (
            ("plain.txt", b"plain\n", 0o644),
            ("empty", b"", 0o644),
            ("deep/er/still/file.bin", bytes(range(256)), 0o644),
            ("run.sh", b"#!/bin/sh\n", 0o755),
            ("private", b"mine\n", 0o600),
            (".hidden", b"dot\n", 0o644),
            ("na\u00efve \u65e5\u672c.txt", b"unicode\n", 0o644),
            ("with 'quotes' & space", b"odd\n", 0o644),
            ("x" * 120 + ".txt", b"long name\n", 0o644),
            ("large.bin", b"0123456789abcdef" * (LARGE // 16), 0o644),
        ):
            _leave(os.path.join(top, name), data, mode)
        os.makedirs(os.path.join(top, "hollow", "within"))
        os.symlink("plain.txt", os.path.join(top, "link"))
        os.symlink("deep/er", os.path.join(top, "link-to-directory"))
        os.link(os.path.join(top, "plain.txt"), os.path.join(top, "hard-link"))


def _leave(path: str, data: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def output() -> None:
    """Print what logs are lost by: special lines, long ones, many, both streams, and an end without a newline."""
    for name, data in SPECIAL:
        _say(f"{name}|".encode() + data)
    for length in LENGTHS:
        _say(f"long-{length}|".encode() + b"x" * length)
    for number in range(ALTERNATIONS):
        _say(f"order|{number}|out".encode())
        _say(f"order|{number}|err".encode(), 2)
    for start in range(0, MANY, 100):
        _say(b"\n".join(f"many|{number}".encode() for number in range(start, start + 100)))
    _say(b"last|without a newline", end=b"")


def _say(data: bytes, descriptor: int = 1, end: bytes = b"\n") -> None:
    data += end
    while data:
        data = data[os.write(descriptor, data) :]


def retry() -> None:
    """Fail twice, leaving files behind; then report what an attempt finds of the ones before."""
    attempt = os.environ["LYFTLEARN_ATTEMPT"]
    places = ("LYFTLEARN_MODEL_DIR", "LYFTLEARN_CHECKPOINTS_DIR", "TMPDIR")
    left = {name: sorted(one for one in os.listdir(os.environ[name]) if "attempt" in one) for name in places}
    for name in places:
        _leave(os.path.join(os.environ[name], f"attempt-{attempt}"), b"", 0o644)
    print(f"attempt {attempt}", flush=True)
    if int(attempt) < 3:
        sys.exit(10 + int(attempt))
    write_report({"retries": {"attempt": attempt, "left": left, "cwd": os.getcwd()}})


def trial() -> None:
    """Print the hyperparameter that a search tries as JSON, and an objective; one trial has none."""
    with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
        choice = json.load(file)["choice"]
    print(f"choice {json.dumps(choice)}")
    if choice is None:
        sys.exit("no choice")
    print(f"loss={len(str(choice)) + isinstance(choice, int)}")


def nodes() -> None:
    """Let every node tell the first one what it sees; the first one reports."""
    rank, hosts = int(os.environ["LYFTLEARN_NODE_RANK"]), os.environ["LYFTLEARN_HOSTS"].split(",")
    seen = {str(rank): _node(hosts)}
    print(f"rank {rank} speaks", flush=True)
    if rank:
        _tell(json.dumps(seen).encode())
        return
    for told in _receive_reports(len(hosts) - 1):
        seen.update(told)
    write_report({"nodes": seen})


def _node(hosts: list[str]) -> dict[str, Any]:
    masks = {os.environ["MASTER_PORT"]: "<port>", os.environ.get("LYFTLEARN_JOB_ID", ""): "<job>"}
    masks.update({host: f"<host {rank}>" for rank, host in enumerate(hosts)})
    redact = redaction.Redactor(b"", [], masks)
    told = {name: redact.text(value) for name, value in os.environ.items() if NODES.fullmatch(name)}
    return {"variables": told, "count": len(hosts), "resolved": [probe.kinds(host) for host in hosts]}


def _tell(message: bytes) -> None:
    with _connection(time.monotonic() + PATIENCE) as sender:
        sender.sendall(message)


def _connection(deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), 10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _receive_reports(count: int) -> list[dict[str, Any]]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.settimeout(PATIENCE)
        server.bind(("", int(os.environ["MASTER_PORT"])))
        server.listen()
        return [_receive(server.accept()[0]) for _ in range(count)]


def _receive(connection: socket.socket) -> dict[str, Any]:
    with connection, connection.makefile("rb") as file:
        told: dict[str, Any] = json.load(file)
    return told


def waiting() -> None:
    """Say when signals come, in a child too; end well after the first SIGTERM."""
    _hear("parent", leave=True)
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "child"], stdout=subprocess.PIPE)
    child.stdout.readline()  # type: ignore[union-attr]
    _say(UP.encode())
    _sleep()


def child() -> None:
    """The child of `waiting`: in the same process group."""
    _hear("child", leave=True)
    _say(UP.encode())
    _sleep()


def stubborn() -> None:
    """Go on after SIGTERM, and count the seconds until SIGKILL."""
    _hear("parent", leave=False)
    _say(UP.encode())
    _sleep()


def _hear(who: str, leave: bool) -> None:
    def hear(number: int, _frame: object) -> None:
        _say(f"{who} {signal.Signals(number).name}".encode(), 2)
        if leave:
            sys.exit(0)
        global _asked  # noqa: PLW0603 - a signal handler has nobody to tell
        _asked = True

    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), hear)


_asked = False


def _sleep() -> None:
    while True:
        time.sleep(1)
        if _asked:
            _say(b"still here")


SCENES = {
    scene.__name__: scene for scene in (observe, artifacts, output, retry, trial, nodes, waiting, child, stubborn)
}


if __name__ == "__main__":
    for chosen in sys.argv[1].split("+"):
        SCENES[chosen]()
