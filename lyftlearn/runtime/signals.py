"""Signals as a queue: whichever thread the kernel interrupts, the main thread wakes."""

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STOPPING = {signal.SIGTERM, signal.SIGINT}
FORWARDED = {signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
WATCHED = STOPPING | FORWARDED | {signal.SIGCHLD}
DRAINED = 4096


class Signals:
    """While entered, what is watched is remembered in `received`; before and after, what was installed before holds."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}
        self._pipe = (-1, -1)

    def __enter__(self) -> None:
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._remember) for number in WATCHED}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for end in self._pipe:
            os.close(end)

    def _remember(self, number: int, _: object) -> None:
        if number != signal.SIGCHLD:
            self.received.append(number)

    def wait(self, seconds: float) -> None:
        """Until a signal has come, or the time is over."""
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if poll.poll(max(0, int(seconds * 1000) + 1)):
            os.read(self._pipe[0], DRAINED)

    def take(self) -> list[int]:
        """What was received since the last time."""
        taken, self.received = self.received, []
        return taken
