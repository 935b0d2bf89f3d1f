"""The command's output on its way to the container's: nothing changed, nothing lost, the end remembered."""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log

CHUNK = 1 << 16
REMEMBERED = 1 << 14
"""Bytes: more than the 700 characters that a report quotes, at four bytes each and with secrets still to be masked."""


class Pump(threading.Thread):
    """One pipe for stdout and stderr, so that their order is that of the writes; copied to `target` as it comes.

    log: gets the same, where the output is to be kept.
    """

    def __init__(self, target: int = 1, log: Log | None = None) -> None:
        super().__init__(daemon=True, name="output")
        self.reading, self.writing = os.pipe()
        self._target = target
        self._log = log
        self._tail = bytearray()
        self._received = 0
        self._writing = False

    def run(self) -> None:
        """Copy until the last writer is gone."""
        while True:
            chunk = os.read(self.reading, CHUNK)
            if not chunk:
                break
            self._received += 1
            self._tail += chunk
            del self._tail[:-REMEMBERED]
            self._copy(chunk)
            if self._log:
                self._log.write(chunk)
        os.close(self.reading)

    def _copy(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        self._writing = True
        while view:
            try:
                view = view[os.write(self._target, view) :]
            except BlockingIOError:
                _wait_until_writable(self._target)
            except OSError:  # nobody reads any more: the job goes on
                break
        self._writing = False

    def drain(self, idle: float = 2.0) -> None:
        """Wait for the last byte; not for a writer that escaped the job, nor while nothing can be written."""
        seen = -1
        while self.is_alive() and (self._writing or seen != self._received):
            seen = self._received
            self.join(idle)

    def tail(self) -> str:
        """The end of what was written."""
        return bytes(self._tail).decode("utf-8", "replace")


def _wait_until_writable(descriptor: int) -> None:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1000)
