"""The command's output on its way to the container's: nothing changed, nothing lost, the end remembered."""

from __future__ import annotations

import os

from .thread import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Union

    from .log import Log
    from .log_marks import EscapedSigns

    Carrier = Union["BlankLines", EscapedSigns]

CHUNK = 1 << 16
REMEMBERED = 1 << 14
"""Bytes: more than the 700 characters that a report quotes, at four bytes each and with secrets still to be masked."""


_BLANK = rb"(?m)^( *)\n"


class BlankLines:
    """Carries blank lines through a log service that takes no empty message.

    A line of spaces, or of nothing, gets a space more. Whoever reads the log takes one away from every line of spaces.
    """

    def __init__(self) -> None:
        self._blank = True  # the line so far is spaces, or nothing
        self._begun = False

    def pad(self, chunk: bytes) -> bytes:
        """Return the next bytes of the output, cut anywhere."""
        import re

        before = b"" if self._blank else b"x"
        text = re.sub(_BLANK, rb"\1 \n", before + chunk)
        last = text[text.rfind(b"\n") + 1 :]
        self._begun = bool(last) or (self._begun and b"\n" not in text)
        self._blank = not last.strip(b" ")
        return text[len(before) :]

    def end(self) -> bytes:
        """What completes a last line of spaces that has no newline."""
        return b" " if self._blank and self._begun else b""


def carry(carriers: Sequence[Carrier], chunk: bytes) -> bytes:
    """The next bytes as each carrier in turn writes them."""
    for carrier in carriers:
        chunk = carrier.pad(chunk) if chunk else chunk
    return chunk


def carry_rest(carriers: Sequence[Carrier]) -> bytes:
    """What every carrier has kept back."""
    rest = b""
    for carrier in carriers:
        rest = (carrier.pad(rest) if rest else b"") + carrier.end()
    return rest


class Pump(Thread):
    """One pipe for stdout and stderr, so that their order is that of the writes; copied to `target` as it comes.

    log: gets the same, where the output is to be kept. carriers: bring it through a log service that changes it.
    """

    def __init__(self, target: int = 1, log: Log | None = None, carriers: Sequence[Carrier] = ()) -> None:
        super().__init__(self._copy_all)
        self._carriers = carriers
        self.reading, self.writing = os.pipe()
        self._target = target
        self._log = log
        self._tail = bytearray()
        self._received = 0
        self._writing = False

    def _copy_all(self) -> None:
        """Copy until the last writer is gone."""
        while True:
            chunk = os.read(self.reading, CHUNK)
            if not chunk:
                break
            self._received += 1
            self._tail += chunk
            del self._tail[:-REMEMBERED]
            self._copy(carry(self._carriers, chunk))
            if self._log:
                self._log.write(chunk)
        self._copy(carry_rest(self._carriers))
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
        received = -1
        while self.is_alive() and (self._writing or received != self._received):
            received = self._received
            self.join(idle)

    def tail(self) -> str:
        """The end of what was written."""
        return bytes(self._tail).decode("utf-8", "replace")


def _wait_until_writable(descriptor: int) -> None:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1000)
