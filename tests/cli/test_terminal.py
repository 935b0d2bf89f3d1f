"""What a job says cannot steer the terminal of whoever looks at it, by whatever command they look."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from .conftest import PATIENCE, CommandLine
from .terminal import Terminal

# What xterm obeys (its "Control Sequences"): a title, the clipboard, a cleared screen, the other screen, a question
# whose answer would be typed, a device control string, the same in C1, steps back, and text from right to left.
HOSTILE = (
    "\x1b]0;OWNED\x07", "\x1b]52;c;T1dORUQ=\x07", "\x1b[2J\x1b[H", "\x1b[?1049h", "\x1b[6n", "\x1bP+q436f\x1b\\",
    "\x9b2J", "\x9d0;OWNED\x9c", "\x08\x08\x08", "\x1bc", "\x1b(0", "\u202egnp.exe", "\x0e", "\x07", "\x7f",
)  # fmt: skip
PROGRAM = "import sys\nfor text in {!r}:\n    sys.{}.buffer.write(('said ' + text + ' end\\n').encode())\n"
# What remains: colours, and what our own moving line needs (erase, up, hide and show the cursor).
ALLOWED = re.compile(r"\x1b\[(?:[0-9;:]*m|[0-9]*[KAG]|\?25[lh])|[\r\n]")


def obeyed(seen: str) -> list[str]:
    """Return what a terminal would obey, or would turn around, in what it was shown."""
    return [letter for letter in ALLOWED.sub("", seen) if not letter.isprintable()]


@pytest.fixture
def program() -> str:
    return PROGRAM.format(HOSTILE, "stdout") + PROGRAM.format(HOSTILE[:3], "stderr") + "sys.exit(3)"


def test_what_a_job_said_is_only_read(lyftlearn: CommandLine, tmp_path: Path, program: str) -> None:
    """A log is the text of a stranger: of a library, of the data, of whoever wrote the data."""
    job = lyftlearn("train", "eta", "--", sys.executable, "-c", program).id
    for words in ("wait", "logs", "logs --timestamps --follow", "logs --json", "status", "jobs"):
        command, *options = words.split()
        ids = () if command == "jobs" else (job,)
        terminal = Terminal(lyftlearn, tmp_path / "out", command, *ids, *options, stream="both", COLUMNS="200")
        seen = "".join(terminal.pieces())
        assert terminal.process.wait(PATIENCE) == int(command == "wait"), words
        assert "said" in seen, words
        assert obeyed(seen) == [], words
        if words == "logs":
            assert "^[]0;OWNED^G" in seen, "it is shown, and not hidden from who looks for it"


@pytest.mark.parametrize("words", [("--wait",), ("--follow", "--nodes", "2")], ids=" ".join)
def test_what_a_job_says_while_it_runs_is_only_read(
    lyftlearn: CommandLine, tmp_path: Path, program: str, words: tuple[str, ...]
) -> None:
    """The moving line is drawn with the very sequences that a job must not send."""
    command = ("train", "eta", *words, "--", sys.executable, "-c", program)
    terminal = Terminal(lyftlearn, tmp_path / "out", *command, stream="both", COLUMNS="200")
    seen = "".join(terminal.pieces())
    assert terminal.process.wait(PATIENCE) == 1
    assert "failed" in seen
    assert obeyed(seen) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_the_check_finds_what_a_terminal_obeys(text: str) -> None:
    """A check that sees nothing would pass for ever."""
    assert obeyed(text)
