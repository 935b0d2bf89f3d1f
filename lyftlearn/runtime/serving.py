"""A model's server as a job's command: when it is ready, and whether it answers as the model's own tests say."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading

from . import selftest
from .faults import configuration_failure
from .tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .bundle import Bundle
    from .layout import Layout

READY = ".serving-ready"
LOOK = 0.2
"""Seconds between two pings of a server that loads its model."""


class Server:
    """The server in this container.

    It is ready once it answers a ping and every test of the model is passed. Then the file `READY` in the root of the
    layout holds this process's number and the tick in which it started: a file that an earlier container of the same
    pod left says nothing about this one.
    """

    def __init__(self, bundle: Bundle, layout: Layout) -> None:
        self._port = bundle["serving"]["port"]
        self._tested_by_caller = bool(bundle["serving"].get("tested_by_caller"))
        self._layout = layout
        self._ready = layout.at(READY)

    def prepare(self) -> dict[str, str]:
        """The variables of the command, once nothing stands against its start."""
        self._forget()
        self._check_port()
        return {"PORT": str(self._port)}

    def _forget(self) -> None:
        """Remove what an earlier container of the same pod has left: all is fetched anew."""
        if os.path.lexists(self._ready):
            os.unlink(self._ready)
        for name in ("model", "source"):
            top = os.path.realpath(self._layout.at(name))
            for entry in os.scandir(top) if os.path.isdir(top) else ():
                remove_tree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)

    def _check_port(self) -> None:
        """Refuse a port that somebody else has: its answers would be taken for the model's."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", self._port))  # noqa: S104 - as the server does
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    problem = f"port {self._port} cannot be taken ({error.strerror}): choose another"
                    raise configuration_failure(f"serving: {problem}") from error

    def follow(self, fail: Callable[[str], None]) -> Callable[[], None]:
        """Test the server once it answers. Call `fail` with the reason where it is not to serve; return the end."""
        ended = threading.Event()
        threading.Thread(target=self._follow, args=(fail, ended), name="lyftlearn-serving", daemon=True).start()
        return ended.set

    def _follow(self, fail: Callable[[str], None], ended: threading.Event) -> None:
        while not selftest.answers_ping(self._port):
            if ended.wait(LOOK):
                return
        tests, faults = ("its caller tests it", []) if self._tested_by_caller else self._test()
        if ended.is_set():
            return
        if not faults:
            self._tell_ready(tests)
            return
        words = "\n".join(["the self-test failed, so this model is not served:", *faults])
        print(f"lyftlearn: {words}", file=sys.stderr, flush=True)
        fail(words)

    def _test(self) -> tuple[str, list[str]]:
        """What is said of the tests once they are passed, and what stands against that."""
        try:
            tests = selftest.load(self._layout.at("model"))
            faults = list(filter(None, (test.fault(self._port) for test in tests)))
        except (selftest.SelfTestFault, OSError) as error:
            return "", [str(error)]
        return _passed_text(len(tests)), faults

    def _tell_ready(self, tests: str) -> None:
        temporary = f"{self._ready}.{os.urandom(4).hex()}"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()} {start_tick(os.getpid())}")
        os.replace(temporary, self._ready)
        print(f"lyftlearn: serving on port {self._port}: {tests}", file=sys.stderr, flush=True)


def _passed_text(passed: int) -> str:
    return f"{passed} self-test{'s' if passed > 1 else ''} passed" if passed else "the model brings no self-test"


def start_tick(pid: int) -> str:
    """When a process started, in ticks since the machine did: field 22 of its `stat`, proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:  # a system that is not Linux
        return ""
