"""Signals as a queue, from the first moment to the last: none is lost, and none interrupts what must not be."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found,unused-ignore] # without enumerations
import os
import select
import time

from .faults import DeadlinePassed, StopRequested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STOPPING = {signal.SIGTERM, signal.SIGINT}
FORWARDED = {signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
WATCHED = STOPPING | FORWARDED | {signal.SIGCHLD}
DRAINED = 4096
STOP_FILE = "LYFTLEARN_SUBSTRATE_STOP"
"""Path of a file that is there once a stop was asked for: PID 1 hears no signal before it has a handler."""


class Signals:
    """What has come since the process began; within `interruptible`, a stop raises instead of waiting to be read."""

    def __init__(self, received: list[int]) -> None:
        self._received = received
        self._raises = False
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)

    def install(self, environ: Mapping[str, str]) -> None:
        """Listen, and take note of what came before. A parent may have held signals back until now."""
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in WATCHED:
            signal.signal(number, self._receive)
        signal.signal(signal.SIGALRM, self._pass_deadline)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        path = environ.get(STOP_FILE)
        if path and os.path.exists(path):
            self._received.append(signal.SIGTERM)

    def _receive(self, number: int, _: object) -> None:
        if number != signal.SIGCHLD:
            self._received.append(number)
        if self._raises and self.stop_requested:
            self._raises = False
            raise StopRequested

    def _pass_deadline(self, *_: object) -> None:
        if self._raises:
            self._raises = False
            raise DeadlinePassed

    @property
    def stop_requested(self) -> bool:
        """Whether a stop has come that nobody has taken."""
        return bool(STOPPING & set(self._received))

    def interruptible(self, deadline: float | None = None) -> Interruptible:
        """A context that a stop ends with StopRequested, and monotonic time `deadline` with DeadlinePassed."""
        return Interruptible(self, deadline)

    def set_raises(self, raises: bool) -> None:
        """Whether a stop raises from now on. One that has come already raises at once."""
        self._raises = raises
        if raises and self.stop_requested:
            self._raises = False
            raise StopRequested

    def wait(self, seconds: float) -> None:
        """Until a signal has come, or the time is over."""
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if poll.poll(max(0, int(seconds * 1000) + 1)):
            os.read(self._pipe[0], DRAINED)

    def take(self) -> list[int]:
        """What was received since the last time."""
        count = len(self._received)
        taken = self._received[:count]
        del self._received[:count]
        return taken

    def drop_forwarded(self) -> None:
        """Forget what was meant for a command that had not started, as a process without handlers would."""
        for number in self.take():
            if number in STOPPING:
                self._received.append(number)


class Interruptible:
    """Made by `Signals.interruptible`."""

    def __init__(self, signals: Signals, deadline: float | None) -> None:
        self._signals = signals
        self._deadline = deadline

    def __enter__(self) -> None:
        self._signals.set_raises(True)
        if self._deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._deadline - time.monotonic()))

    def __exit__(self, *_: object) -> None:
        self._signals.set_raises(False)
        if self._deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
