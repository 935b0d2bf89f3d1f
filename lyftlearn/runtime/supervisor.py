"""The command's life: attempts, signals, the clock, and an end that leaves no process behind."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found,unused-ignore] # without enumerations
import os
import time

from .faults import (
    CONFIGURATION,
    EXIT_CODES,
    EXIT_STOPPED,
    EXIT_TIMEOUT,
    OUT_OF_MEMORY,
    PREEMPTED,
    TIMEOUT,
    USER_ERROR,
    StopRequested,
)
from .memory import out_of_memory_kills
from .output import Pump
from .signals import FORWARDED, STOPPING
from .spawn import adopt_orphans, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .capacity import Capacity
    from .signals import Signals
    from .spawn import Command

IDLE = "idle"
LONGEST_WAIT = 3600.0
GROUP_POLL = 0.05
REAP_PAUSE = 0.002
LEFTOVERS_WAIT = 10.0
"""Seconds for killed processes to be gone: longer only where one hangs in the kernel."""


_EXIT_CODES = {TIMEOUT: EXIT_TIMEOUT, **{cause: EXIT_CODES[cause] for cause in (CONFIGURATION, USER_ERROR)}}


class CommandOutcome:
    """How the command ended."""

    def __init__(self) -> None:
        self.attempt = 0
        self.status: int | None = None
        self.cause: str | None = None
        self.out_of_memory = False
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.message = ""
        self.deadline: float | None = None

    @property
    def exit_code(self) -> int | None:
        """The command's own, where it ended by itself."""
        return None if self.cause else self.status

    @property
    def reason(self) -> str | None:
        """Why it failed; None for success and for a stop."""
        if self.cause:
            return self.cause if self.cause in (TIMEOUT, PREEMPTED, CONFIGURATION, USER_ERROR) else None
        if self.status == 0:
            return None
        return OUT_OF_MEMORY if self.out_of_memory else USER_ERROR

    @property
    def was_stopped(self) -> bool:
        """Someone asked for it, or nobody used it."""
        return self.cause in ("stop", IDLE)

    @property
    def was_idle(self) -> bool:
        """A notebook that nobody used."""
        return self.cause == IDLE

    @property
    def runtime_exit_code(self) -> int:
        """What the container exits with. An idle end is as good as any: no platform is to start it again."""
        if self.was_idle:
            return 0
        if self.cause:
            return _EXIT_CODES.get(self.cause, EXIT_STOPPED)
        return self.status or 0


class CommandSupervisor:
    """Runs the command until it succeeds, may not be repeated, or is to end.

    first_start: when an earlier container of the job started it first, in seconds since 1970: the timeout goes on.
    capacity: reserved, where it is: the command is to end in time, its grace included.
    ends_daemons: whether what the command leaves in sessions of its own ends with it, as in a container.
    """

    def __init__(
        self,
        command_for: Callable[[int], Command],
        signals: Signals,
        *,
        timeout: float | None,
        grace: float,
        retries: int,
        new_pump: Callable[[], Pump] = Pump,
        first_start: float | None = None,
        capacity: Capacity | None = None,
        ends_daemons: bool = True,
    ) -> None:
        self._command_for = command_for
        self._new_pump = new_pump
        self._first_start = first_start
        self._capacity = capacity
        self._ends_daemons = ends_daemons
        self._timeout = timeout
        self._grace = grace
        self._retries = retries
        self._kill_at: float | None = None
        self._pid = 0
        self._leader: int | None = None
        self._signals = signals
        self._early_end: tuple[str, str] | None = None  # the cause, and the words about it
        self.outcome = CommandOutcome()

    def stop_idle(self, words: str) -> None:
        """End the command because nobody uses it, as `words` say; from any thread."""
        self._end_early(IDLE, words)

    def stop_misconfigured(self, words: str) -> None:
        """End the command because it cannot do its work here, as `words` say; from any thread."""
        self._end_early(CONFIGURATION, words)

    def stop_unfit(self, words: str) -> None:
        """End the command because it does its work wrongly, as `words` say; from any thread."""
        self._end_early(USER_ERROR, words)

    def _end_early(self, cause: str, words: str) -> None:
        self._early_end = cause, words
        os.kill(os.getpid(), signal.SIGCHLD)  # wakes whoever waits for signals, and means nothing else

    def run(self, on_start: Callable[[int, float], None]) -> CommandOutcome:
        """Run every attempt; `on_start` gets each one's number and time."""
        self._signals.drop_forwarded()
        try:
            if self._ends_daemons:
                adopt_orphans()
            self._attempts(on_start)
        finally:
            end_everything(self._pid)
        if not self.outcome.cause and STOPPING & set(self._signals.take()):
            raise StopRequested
        return self.outcome

    def _attempts(self, on_start: Callable[[int, float], None]) -> None:
        for number in range(1, self._retries + 2):
            if self._signals.stop_requested:
                break
            self._attempt(number, on_start)
            if self.outcome.reason != USER_ERROR:
                break

    def _attempt(self, number: int, on_start: Callable[[int, float], None]) -> None:
        outcome, pump, kills = self.outcome, self._new_pump(), out_of_memory_kills()
        outcome.attempt, self._leader = number, None
        if number > 1:
            self._note_start(number, on_start)  # while nothing else is written
        pump.start()
        try:
            self._pid = spawn(self._command_for(number), pump.writing)
        finally:
            os.close(pump.writing)
        if number == 1:
            self._note_start(number, on_start)
        self._watch()
        end_everything(self._pid)
        pump.drain()
        outcome.finished_at = time.time()
        told = self._early_end[1] if self._early_end and outcome.cause == self._early_end[0] else None
        outcome.status, outcome.message = self._leader, pump.tail() if told is None else told
        outcome.out_of_memory = out_of_memory_kills() > kills

    def _note_start(self, number: int, on_start: Callable[[int, float], None]) -> None:
        now = time.time()
        self.outcome.started_at = self.outcome.started_at or now
        if self._timeout is not None and self.outcome.deadline is None:
            self.outcome.deadline = time.monotonic() + self._timeout - max(0.0, now - (self._first_start or now))
        on_start(number, now)

    def _watch(self) -> None:
        """Until the command has ended; where it is to end, until its process group has, or grace is over."""
        while not self._is_over():
            self._signals.wait(self._longest_wait())
            for number in self._signals.take():
                self._receive(number)
            if self._early_end:
                self._end(self._early_end[0])
            self._reap()
            self._check_deadline()

    def _is_over(self) -> bool:
        if self._kill_at is None:
            return self._leader is not None
        return time.monotonic() >= self._kill_at or not group_alive(self._pid)

    def _longest_wait(self) -> float:
        if self._leader is not None:
            return GROUP_POLL
        if self._kill_at is not None:
            return min(LONGEST_WAIT, max(0.0, self._kill_at - time.monotonic()))
        timeout = LONGEST_WAIT if self.outcome.deadline is None else self.outcome.deadline - time.monotonic()
        return min(LONGEST_WAIT, max(0.0, timeout), max(0.0, self._capacity_left()))

    def _receive(self, number: int) -> None:
        if number in STOPPING:
            self._end("stop")
        elif number in FORWARDED:
            _signal_group(self._pid, number)

    def _check_deadline(self) -> None:
        if self._leader is not None:
            return
        if self.outcome.deadline is not None and time.monotonic() >= self.outcome.deadline:
            self._end(TIMEOUT)
        elif self._capacity is not None and self._capacity_left() <= 0:
            self._end(PREEMPTED)

    def _capacity_left(self) -> float:
        """Seconds until the command is told that its capacity ends, by the clock that the platform tells it by."""
        return self._capacity.ends_at - self._grace - time.time() if self._capacity else LONGEST_WAIT

    def _end(self, cause: str) -> None:
        """Ask once for the end; what asks later changes nothing."""
        if self._kill_at is None:
            self.outcome.cause = cause
            self._kill_at = time.monotonic() + self._grace
            _signal_group(self._pid, signal.SIGTERM)

    def _reap(self) -> None:
        for pid, status in reap():
            if pid == self._pid:
                self._leader = exit_code(status)


def exit_code(status: int) -> int:
    """128 + the signal's number where a signal ended it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def reap() -> list[tuple[int, int]]:
    """Everyone that has ended, orphans included."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))


def group_alive(group: int) -> bool:
    """Whether a process of the group, a zombie too, is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def end_everything(group: int) -> None:
    """Kill what the command left, as a container's end would. Killed parents hand their children to us."""
    if not group:
        return
    deadline = time.monotonic() + LEFTOVERS_WAIT
    _signal_group(group, signal.SIGKILL)
    while time.monotonic() < deadline:
        reap()
        children = _children()
        if not children:
            return
        for pid in children:
            _kill(pid)
        time.sleep(REAP_PAUSE)


def _children() -> list[int]:
    children: list[int] = []
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:  # a system that is not Linux
        return children
    for task in tasks:
        try:
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                children += [int(pid) for pid in file.read().split()]
        except OSError:
            continue
    return children


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
