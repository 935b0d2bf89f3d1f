"""`top`: the jobs of `jobs` on a terminal, as they are now, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from lyftlearn._client import Client
from lyftlearn._contract.signal_event import SignalEvent
from lyftlearn._text.display import printable
from lyftlearn.cli import _tables
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.cli._job_commands import cost_texts, jobs, jobs_table
from lyftlearn.errors import LyftLearnError
from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from rich.text import Text

    from lyftlearn._jobs.job import Job
    from lyftlearn.cli._invocation import Invocation

_SECONDS_BETWEEN_LISTS = 15.0
"""New jobs are seen by then. What becomes of known ones comes from the watches, so no request follows from drawing."""
_SECONDS_BETWEEN_PICTURES = 1.0
_SHORTEST_PAUSE = 0.2  # however much happens
_SIZE = ("COLUMNS", "LINES")  # of the window that once was: what somebody exported does not change with it
_ADVICE = "Ctrl-C leaves; the jobs go on"


def top(invocation: Invocation) -> ExitCode:
    """Show jobs until Ctrl-C; once and plainly to a program or a file."""
    if invocation.json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return jobs(invocation)
    board = Board(Client(config=invocation.config), invocation.arguments)
    board.look()
    with _ending_with_the_terminal(), suppress(KeyboardInterrupt), _heeding_signals(board), _telling(board.tell), board:
        _draw(board)
    return ExitCode.DONE


class Board:
    """The jobs to show: a list that is asked for every few seconds, and what the watches tell in between."""

    def __init__(self, client: Client, query: Mapping[str, Any]) -> None:
        self._client = client
        self._query = query
        self._jobs: Sequence[Job] = ()
        self._costs: Mapping[str, str] = {}
        self._leave: dict[str, Callable[[], None]] = {}
        self._note = ""
        self._closed = threading.Event()
        self.changed = SignalEvent()
        self.suspended = SignalEvent()

    def __enter__(self) -> None:
        threading.Thread(target=self._look_again, daemon=True, name="lyftlearn-top").start()

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def look(self) -> None:
        """Ask for the list. Raises what `Client.jobs` raises."""
        known = {job.id: job for job in self._jobs}
        listed = list(self._client.jobs(**self._query))
        for job in listed:
            if job.id in known:
                known[job.id]._observe(job._record.event)  # noqa: SLF001 - a friend of the handle
        self._jobs = [known.get(job.id, job) for job in listed]
        self._listen()
        self._costs = cost_texts(self._jobs, self._client)
        self.changed.notify()

    def tell(self, text: str) -> None:
        """Show a sentence until the next list."""
        self._note = printable(f"{datetime.now().astimezone():%H:%M:%S} {text}".splitlines()[0])
        self.changed.notify()

    def suspend(self) -> None:
        """Let whoever draws give the terminal back; for the handler of a signal."""
        self.suspended.notify()
        self.changed.notify()

    def lines(self, width: int, height: int) -> Iterator[Text]:
        """Yield what fits on a screen: open jobs first, each group newest first."""
        from rich.text import Text  # noqa: PLC0415 - loaded only to draw

        listed = sorted(self._jobs, key=lambda job: job.state.status.finished)
        seen = listed[: max(0, height - 3)]
        yield Text(_summary(listed), style="bold")
        yield from _tables.table_lines(jobs_table(seen, self._costs), width) if seen else [Text("no jobs")]
        yield from [Text()] * (height - 3 - max(1, len(seen)))
        hidden = len(listed) - len(seen)
        yield Text("; ".join(filter(None, (f"{hidden} more" if hidden else "", self._note or _ADVICE))), style="dim")

    def _look_again(self) -> None:
        while not self._closed.wait(_SECONDS_BETWEEN_LISTS):
            self._note = ""
            try:
                self.look()
            except LyftLearnError as exc:
                self.tell(f"this list is an earlier one: {exc}")
            except Exception as exc:  # noqa: BLE001 - a plugin that breaks is told, and asked again
                self.tell(f"this list is an earlier one: {type(exc).__name__}: {exc}")

    def _listen(self) -> None:
        """Follow the listed jobs that go on, and no others."""
        going_on = {job.id: job for job in self._jobs if not job.state.status.finished}
        for job_id in self._leave.keys() - going_on.keys():
            self._leave.pop(job_id)()
        for job_id in going_on.keys() - self._leave.keys():
            self._leave[job_id] = going_on[job_id]._listen(lambda _: self.changed.notify())  # noqa: SLF001 - as above


def _summary(listed: Sequence[Job]) -> str:
    counts = Counter(job.state.status for job in listed)
    words = [f"{counts[status]} {status}" for status in JobStatus if counts[status]]
    return "  ".join((f"{datetime.now().astimezone():%H:%M:%S}", *words))


def _draw(board: Board) -> None:
    """Draw over the last picture, without erasing it first: nothing flickers."""
    from rich.console import Console, Group  # noqa: PLC0415 - loaded only to draw
    from rich.live import Live  # noqa: PLC0415

    console = Console(_environ={name: text for name, text in os.environ.items() if name not in _SIZE})
    live = Live(
        console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False,
        get_renderable=lambda: Group(*board.lines(console.width, console.height)),
    )  # fmt: skip
    with live:
        while sys.stdout.isatty():
            board.changed.clear()
            live.refresh()
            time.sleep(_SHORTEST_PAUSE)
            board.changed.wait(_SECONDS_BETWEEN_PICTURES)
            if board.suspended.is_set():
                board.suspended.clear()
                live.stop()
                _suspend()
                live.start()


def _suspend() -> None:
    """Stop, as Ctrl-Z has it, until this process goes on in front: in the background it would draw over a shell."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    while not _is_in_front():
        time.sleep(_SHORTEST_PAUSE)
        os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)


def _is_in_front() -> bool:
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:  # it is nobody's terminal, or gone
        return True


@contextmanager
def _ending_with_the_terminal() -> Iterator[None]:
    """End as by SIGHUP once the terminal is gone: not everybody gets that signal, and nothing can be written there."""
    try:
        yield
    except OSError:
        if sys.stdout.isatty():
            raise
    finally:
        if not sys.stdout.isatty():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGHUP)


@contextmanager
def _heeding_signals(board: Board) -> Iterator[None]:
    """Draw anew when the window changes; give the terminal back when somebody ends this process, or suspends it."""
    taken = (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
    before = {number: signal.getsignal(number) for number in taken}
    signal.signal(signal.SIGWINCH, lambda *_: board.changed.notify())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave_by_signal)
    if before[signal.SIGTSTP] is not signal.SIG_IGN:  # a shell without jobs ignores it for its children
        signal.signal(signal.SIGTSTP, lambda *_: board.suspend())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_by_signal(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Give warnings and what is logged to `tell`: printed, they would tear the picture."""
    handler = _Teller(tell)
    logger = logging.getLogger("lyftlearn")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # with each list: what is still missing is still told
            warnings.showwarning = lambda message, *_, **__: tell(str(message))
            yield
    finally:
        logger.removeHandler(handler)


class _Teller(logging.Handler):
    """Gives what is logged to a function."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())
