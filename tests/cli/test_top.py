"""`lyftlearn top` on a terminal of its own: what its screen shows, and what is left when it is gone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lyftlearn import BackendUnavailable, Client
from lyftlearn.cli import _top_command
from lyftlearn.cli._top_command import Board
from tests.doubles.old_and_new import Make, make, plugins

from .conftest import PATIENCE, CommandLine, as_from_a_terminal

__all__ = ["make", "plugins"]  # fixtures
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_HOME, _OPENS, _LEAVES = "\x1b[H", "\x1b[?1049h", "\x1b[?1049l"
_ERASES = re.compile(r"\x1b\[[0-9]*[JK]|\x1bc")


class Screen:
    """A terminal on which `top` draws; every picture begins in the upper left corner."""

    def __init__(
        self, lyftlearn: CommandLine, *words: str, size: tuple[int, int] = (24, 120), code: str | None = None
    ) -> None:
        self._reading, writing = pty.openpty()
        self.resize(*size)
        self.written = ""
        self.process = subprocess.Popen(
            [sys.executable, *(["-c", code] if code else ["-m", "lyftlearn.cli", "top", *words])],
            cwd=lyftlearn.directory,
            env={**lyftlearn.environment, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
            stdin=writing, stdout=writing, stderr=writing, start_new_session=True,
            preexec_fn=lead_a_session if code else as_from_a_terminal,  # noqa: PLW1509 - no thread of ours holds a lock
        )  # fmt: skip
        os.close(writing)

    def resize(self, lines: int, columns: int) -> None:
        termios.tcsetwinsize(self._reading, (lines, columns))

    def until(self, shows: Callable[[list[str]], bool]) -> list[str]:
        """Return the first whole picture that shows something."""
        while True:
            picture = self._next_picture()
            if shows(picture):
                return picture

    def _next_picture(self) -> list[str]:
        seen = self.written.count(_HOME)
        while self.written.count(_HOME) < seen + 2:
            self._read()
        return [line.rstrip() for line in _STYLES.sub("", self.written.split(_HOME)[-2]).split("\r\n")]

    def _read(self) -> bool:
        try:
            piece = os.read(self._reading, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            piece = b""
        self.written += piece.decode()
        assert piece or self.process.poll() is not None or self.process.wait(PATIENCE) is not None
        return bool(piece)

    def end(self, number: int) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def type(self, text: str) -> None:
        os.write(self._reading, text.encode())

    def read_until(self, pattern: str, count: int) -> None:
        while len(re.findall(pattern, self.written)) < count:
            assert self._read(), self.written[-2000:]

    def vanish(self) -> None:
        """Take the terminal away."""
        os.close(self._reading)
        self._reading = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._reading)
        self.process.kill()
        self.process.wait()


def lead_a_session() -> None:
    """Have the terminal as one's own, with its signals."""
    as_from_a_terminal()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def open_screen(lyftlearn: CommandLine) -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def open_one(*words: str, **settings: Any) -> Screen:
        opened.append(Screen(lyftlearn, *words, **settings))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@contextmanager
def held(path: Path) -> Iterator[list[str]]:
    """Give a command that goes on until the context ends."""
    path.touch()
    try:
        yield ["sh", "-c", f"while [ -e {path} ]; do sleep 0.1; done"]
    finally:
        path.unlink()


def row_of(picture: list[str], job: str) -> str:
    return next((line for line in picture if line.startswith(job)), "")


def test_what_becomes_of_jobs_is_seen(
    lyftlearn: CommandLine, open_screen: Callable[..., Screen], tmp_path: Path
) -> None:
    """Open jobs stand first; an end is seen without a new list; nothing is erased, so nothing flickers."""
    with held(tmp_path / "held") as command:
        lasting = lyftlearn("process", "lasting", "--", *command).id
        short = lyftlearn("process", "short", "--wait", "--", "false").id
        screen = open_screen()
        picture = screen.until(lambda lines: "running" in row_of(lines, lasting))
        assert re.match(r"\d\d:\d\d:\d\d  1 running  1 failed$", picture[0])
        assert [line.split()[0] for line in picture[1:4]] == ["id", lasting, short]
        assert picture[-1] == "Ctrl-C leaves; the jobs go on"
        assert "user-error" in row_of(picture, short)
    screen.until(lambda lines: "succeeded" in row_of(lines, lasting))
    assert not _ERASES.search(screen.written)
    assert screen.end(signal.SIGINT) == 0
    assert screen.written.count(_OPENS) == screen.written.count(_LEAVES) == 1
    assert "Traceback" not in screen.written


def test_a_window_that_changes_its_size(lyftlearn: CommandLine, open_screen: Callable[..., Screen]) -> None:
    """No line wraps, no picture is higher than its window, and what finds no room is counted."""
    client = Client(config={"home": lyftlearn.environment["LYFTLEARN_HOME"]})
    ids = [client.process(f"job{number}", command="true").id for number in range(2)]
    client.wait([client.job(job_id) for job_id in ids], progress=False)
    screen = open_screen(size=(24, 120))
    picture = screen.until(lambda lines: bool(row_of(lines, ids[0])))
    assert len(picture) == 24
    screen.resize(4, 60)
    picture = screen.until(lambda lines: len(lines) == 4)
    assert max(map(len, picture)) <= 60
    assert row_of(picture, ids[1])
    assert picture[-1].startswith("1 more; ")
    screen.resize(1, 10)
    screen.until(lambda lines: len(lines) == 1)
    assert screen.end(signal.SIGINT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_who_ends_it_gets_the_terminal_back(open_screen: Callable[..., Screen], number: int) -> None:
    """The other screen is left, and the cursor is shown again."""
    screen = open_screen()
    screen.until(lambda lines: "no jobs" in lines)
    assert screen.end(number) == 128 + number
    assert screen.written.rindex(_LEAVES) > screen.written.rindex(_OPENS)
    assert screen.written.rindex("\x1b[?25h") > screen.written.rindex("\x1b[?25l")


def test_a_terminal_that_vanishes_ends_it(open_screen: Callable[..., Screen]) -> None:
    """Nobody tells it, as it has no such signal from a terminal that is not its own: it must see for itself."""
    screen = open_screen()
    screen.until(lambda lines: "no jobs" in lines)
    screen.vanish()
    assert screen.process.wait(PATIENCE) == 128 + signal.SIGHUP


_SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "lyftlearn.cli", "top"])
while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
    os.tcsetpgrp(0, os.getpid())
    print("<stopped>", flush=True)
    where = input()
    if where == "fg":
        os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
"""As much of a shell as has jobs."""


def test_who_suspends_it_gets_the_terminal_back(open_screen: Callable[..., Screen]) -> None:
    """Ctrl-Z leaves the other screen; `bg` draws nothing over the shell, and `fg` shows it again."""
    screen = open_screen(code=_SHELL)
    screen.until(lambda lines: "no jobs" in lines)
    for round_ in (1, 2):
        screen.type("\x1a")
        screen.read_until(f"{_LEAVES}[^\x1b]*(\x1b[^h]*h)?[^\x1b]*<stopped>", round_)
        opened = screen.written.count(_OPENS)
        if round_ == 1:
            screen.type("bg\n")
            screen.read_until("<stopped>", 2)
            assert screen.written.count(_OPENS) == opened
        screen.type("fg\n")
        screen.read_until(re.escape(_OPENS), opened + 1)
        screen.until(lambda lines: "no jobs" in lines)
    screen.type("\x03")
    assert screen.process.wait(PATIENCE) == 0


def test_pictures_ask_nobody(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the screen is drawn, there is one list for each look, and one watch of what is open."""
    client = make("off", old={"status": "running"})
    job = client.train("eta", command="true")
    backend = client._session.registry.get("old")
    asked: list[str] = []
    for name in ("list", "watch"):
        monkeypatch.setattr(backend, name, counting(getattr(backend, name), name, asked))
    board = Board(client, {})
    for _ in range(3):
        board.look()
        for _ in range(100):
            assert job.id in "\n".join(str(line) for line in board.lines(120, 24))
    assert Counter(asked) == {"list": 3, "watch": 1}


def test_a_backend_that_is_away_leaves_the_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last list stays, and it is said since when, and why; nothing that is said is more than a line."""
    client = make("off", old={"status": "running"})
    job = client.train("eta", command="true")
    board = Board(client, {})
    board.look()
    monkeypatch.setattr(_top_command, "_SECONDS_BETWEEN_LISTS", 0.01)
    monkeypatch.setattr(client, "jobs", failing)
    with board:
        for _ in range(6000):
            lines = [str(line) for line in board.lines(120, 10)]
            if "away" in lines[-1]:
                break
            time.sleep(0.01)
    assert lines[-1].endswith("this list is an earlier one: the cluster is away")
    assert len(lines) == 10
    assert job.id in lines[2]


def test_what_is_missing_is_told_with_each_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two clusters is away for an hour: nobody takes the list for a whole one in the second minute."""
    client = make("rehearse")
    job = client.train("eta", command="true")
    monkeypatch.setattr(client._session.registry.get("new"), "list", failing)
    board = Board(client, {})
    with _top_command._telling(board.tell):
        for _ in range(3):
            board._note = ""
            board.look()
            lines = [str(line) for line in board.lines(200, 10)]
            assert "the jobs of backend new are missing here" in lines[-1]
            assert job.id in lines[2]


def counting(function: Callable[..., object], name: str, asked: list[str]) -> Callable[..., object]:
    def count(*arguments: object) -> object:
        asked.append(name)
        return function(*arguments)

    return count


def failing(*_: object, **__: object) -> NoReturn:
    raise BackendUnavailable("the cluster is away\nand so is its proxy")


def test_a_program_gets_the_list_once(lyftlearn: CommandLine, open_screen: Callable[..., Screen]) -> None:
    """As `jobs` prints it: the same values."""
    job = lyftlearn("process", "one", "--wait", "--", "true").id
    assert lyftlearn("top").out == lyftlearn("jobs").out
    assert lyftlearn("top", "--json").json == lyftlearn("jobs", "--json").json
    assert open_screen("--json").process.wait(PATIENCE) == 0
    assert job in lyftlearn("top", "--name", "one").out
    assert "no jobs" in lyftlearn("top", "--name", "two").err
