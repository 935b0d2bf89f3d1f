"""One node: the process of its runtime, its output, its words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from lyftlearn_local.layouts.layout import LOOPBACK
from lyftlearn_local.logs.capture import CHUNK, Capture
from lyftlearn_local.store.files import open_at_once
from lyftlearn_local.store.leftovers import end_session
from lyftlearn_local.supervisor import sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Protocol

    class MemoryLimit(Protocol):
        """What holds a node's processes to their memory, and them together."""

        def has_killed(self) -> bool:
            """Whether the kernel killed one of them for it."""
            ...

        def remove(self) -> None:
            """End whoever is left."""
            ...


MARK = "lyftlearn/1 "
_GAVE_UP = sandbox.GAVE_UP.encode()
_LARGEST_REPORT = 1 << 16  # characters, as the runtime reads of it
_MOST_CHUNKS = (1 << 20) // CHUNK
"""Linux lets a pipe hold a mebibyte, unless root raised it."""


class Node:
    """A started node.

    info: tells the pid inside namespaces; None without them. groups: supplementary ones; None for this process's own.
    """

    def __init__(
        self,
        rank: int,
        argv: list[str],
        environment: dict[str, str],
        capture: Capture,
        info: tuple[int, int] | None,
        *,
        groups: tuple[int, ...] | None = None,
    ) -> None:
        self.rank = rank
        self.started = time.monotonic()
        self.ended = False
        self.drained = False
        self._deaf = False
        self._held: bytes | None = b"" if info else None  # what may be bubblewrap's last words; None once others came
        self.group: MemoryLimit | None = None
        self._capture = capture
        self.output, write_end = os.pipe()
        os.set_blocking(self.output, False)
        self._info = info[0] if info else None
        if info:
            os.set_blocking(info[0], False)
        self._inner: int | None = None
        try:
            self.process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                pass_fds=(info[1],) if info else (),
                start_new_session=True,
                extra_groups=groups,
                cwd="/",
            )
        finally:
            os.close(write_end)
            if info:
                os.close(info[1])

    def pump(self) -> None:
        """Move what has come to disk, at most what a pipe can hold. Raises OSError when it cannot be kept, once.

        After that output is read and dropped, so that the command is not held up.
        """
        for _ in range(_MOST_CHUNKS):
            data = self._read()
            if not data:
                return
            self._hold_or_keep(data)

    def _hold_or_keep(self, data: bytes) -> None:
        """Hold back what bubblewrap says as it gives up: the log of a node that is started again has nothing of it."""
        if self._held is None:
            self._keep(data)
            return
        self._held += data
        if not _is_giving_up(self._held):
            self.keep_held()

    def keep_held(self) -> None:
        """Keep what was held back. Raises OSError when it cannot be kept."""
        held, self._held = self._held, None
        if held:
            self._keep(held)

    def _keep(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._capture.write(data)
        except OSError:
            self._deaf = True
            raise

    def _read(self) -> bytes:
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return b""
        self.drained = not data
        return data

    def terminate(self) -> None:
        """Ask the runtime to stop. As PID 1 it hears nothing until it is ready to: ask again."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the runtime, and with its namespaces or its session everything under it."""
        self._signal(signal.SIGKILL)
        self.end_leftovers()

    def end_leftovers(self) -> None:
        """Without namespaces, end what outlives its runtime."""
        if self._info is None:
            end_session(self.process.pid)

    def never_began(self) -> bool:
        """Whether bubblewrap gave up before it ran anything, as when a mount goes that it was about to show."""
        return self.process.returncode == 1 and self._held is not None and self._held.startswith(_GAVE_UP)

    def silent_end(self) -> tuple[str, str]:
        """Return reason and words for a runtime that left no report."""
        code = self.process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        words = self.last_words() or "nothing was printed"
        return "platform", f"the runtime of node {self.rank} ended {how} and left no report: {words}"

    def last_words(self) -> str:
        """The end of its output."""
        return self._capture.last_words()

    def close(self) -> None:
        """Release the descriptors."""
        if self._info is not None:
            os.close(self._info)
        os.close(self.output)
        self._capture.close()

    def _signal(self, number: int) -> None:
        target = self.process.pid if self._info is None else self._inner_pid()
        if target is None:
            target = self.process.pid if number == signal.SIGKILL else None
        if target is None or self.process.poll() is not None:
            return
        try:
            os.kill(target, number)
        except ProcessLookupError:  # the command's PID 1 is gone, and bubblewrap has not ended yet
            return

    def _inner_pid(self) -> int | None:
        if self._inner is None and self._info is not None:
            try:
                self._inner = json.loads(os.read(self._info, CHUNK))["child-pid"]
            except (BlockingIOError, ValueError):
                return None
        return self._inner


def _is_giving_up(said: bytes) -> bool:
    """Whether all that was said is one line, whole or not, with which bubblewrap gives up."""
    begins = said.startswith(_GAVE_UP) or _GAVE_UP.startswith(said)
    return begins and b"\n" not in said[:-1] and len(said) < CHUNK


def free_port() -> int:
    """A TCP port that nobody uses now, for the nodes of one job to meet at."""
    import socket  # noqa: PLC0415 - most jobs have one node and start sooner without

    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def read_report(path: Path) -> dict[str, Any] | None:
    """What the runtime left when it ended: its first line as data, the command's last words as `message`."""
    try:
        with open(path, encoding="utf-8", errors="replace", opener=open_at_once) as file:
            text = file.read(_LARGEST_REPORT)
    except OSError:
        return None
    first, _, words = text.partition("\n")
    if not first.startswith(MARK):
        return None
    try:
        content: dict[str, Any] = json.loads(first[len(MARK) :])
    except ValueError:
        return None
    return {**content, "message": words.strip() or content.get("message", "")}
