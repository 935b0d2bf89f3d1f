"""What a person is told of a failure, and that no slip of theirs is answered with a traceback."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lyftlearn import FailureReason, JobFailed, JobState, JobStatus
from lyftlearn._text.display import printable_lines, telling_line
from lyftlearn.runtime.report import LAST_WORDS, last_words

from .conftest import CommandLine

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eright to left \u2066isolated \x00"
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: the loss is nan'


def failed(message: str, **others: Any) -> JobFailed:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    fields: dict[str, Any] = {"exit_code": 1, "created_at": at, "started_at": at, "attempt": 1, "finished_at": at}
    state = JobState(status=JobStatus.FAILED, reason=FailureReason.USER_ERROR, message=message, **{**fields, **others})
    return JobFailed(cast("Any", SimpleNamespace(id="eta-tl22222222222")), state)


def test_a_failure_begins_with_the_exception() -> None:
    """Of seven hundred characters one line says what went wrong, and it is never the first."""
    lines = str(failed(f"epoch 1\n{TRACEBACK}\ncleaning up")).splitlines()
    assert lines[0] == "eta-tl22222222222 failed (user-error, exit code 1): ValueError: the loss is nan"
    assert lines[1:6] == [f"  {line}" for line in ("epoch 1", *TRACEBACK.splitlines(), "cleaning up")]
    assert lines[-1] == "see all of it: lyftlearn logs eta-tl22222222222"


@pytest.mark.parametrize("message", ["", "one line", "one line\n"])
def test_a_short_message_is_said_once(message: str) -> None:
    """What stands in the first line is not repeated below it."""
    lines = str(failed(message)).splitlines()
    assert lines[0].endswith(message.strip() or "(user-error, exit code 1)"), lines
    assert len(lines) == 2


def test_a_job_that_never_started_has_no_log_to_see() -> None:
    """Advice that leads to an empty log is worse than none."""
    error = failed("no such image", started_at=None, exit_code=None)
    assert str(error) == "eta-tl22222222222 failed (user-error): no such image"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TRACEBACK, "ValueError: the loss is nan"),
        (f"{TRACEBACK}\nbye", "ValueError: the loss is nan"),
        (f"{TRACEBACK}\n\nDuring handling of it\n\n{TRACEBACK}".replace("nan", "inf"), "ValueError: the loss is inf"),
        ("botocore.exceptions.ClientError: no\nbye", "botocore.exceptions.ClientError: no"),
        ("KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("loading\nno flights of 2013-02", "no flights of 2013-02"),
        ("goroutine 1\npanic: nil map\nexit status 2", "panic: nil map"),
        ("RuntimeError: before\nTraceback (most recent call last):\n  x\ncustom.Oops", "custom.Oops"),
        ("", ""),
    ],
)
def test_the_telling_line(text: str, line: str) -> None:
    """Programs print more after the error: what they clean up, where they saved."""
    assert telling_line(text) == line


def test_nothing_a_terminal_obeys_comes_out() -> None:
    """A job's last words are a stranger's: an escape sequence among them must not reach the terminal."""
    text = str(failed(f"{HOSTILE}\n{HOSTILE}"))
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert all(line.isprintable() for line in printable_lines(HOSTILE))
    assert pickle.loads(pickle.dumps(KeyError(HOSTILE))).args[0] == HOSTILE


@pytest.mark.parametrize("words", [("wait",), ("train", "eta", "--wait")])
def test_waiting_prints_no_control_characters(lyftlearn: CommandLine, words: tuple[str, ...]) -> None:
    """Both ways to wait tell the same message, which status and jobs clean."""
    code = "import sys; sys.stderr.buffer.write('\\x1b[2Jgone \\u202ebidi\\nlast'.encode()); sys.exit(3)"
    command = ("--", sys.executable, "-c", code)
    if words == ("wait",):
        submitted = lyftlearn("train", "eta", *command)
        ran = lyftlearn("wait", submitted.id)
    else:
        ran = lyftlearn(*words, *command)
    assert ran.code == 1
    assert "exit code 3" in ran.err
    assert "gone" in ran.err
    assert not [letter for letter in ran.out + ran.err if not letter.isprintable() and letter != "\n"]


def test_the_last_words_begin_at_a_line() -> None:
    """Half a line at the beginning says nothing, and looks like a fault."""
    text = "\n".join(f"line {number} of the program" for number in range(200))
    words = last_words(text)
    assert words.splitlines()[0].startswith("line ")
    assert LAST_WORDS - 30 < len(words) <= LAST_WORDS
    assert text.endswith(words)


@pytest.mark.parametrize("text", ["x" * 2000, "short", "a\n" + "x" * 2000, "x" * 2000 + "\n"])
def test_a_single_long_line_keeps_its_end(text: str) -> None:
    """Where there is no line to begin at, the end is what counts."""
    assert last_words(text) == text.rstrip()[-LAST_WORDS:]


def test_a_line_that_begins_exactly_at_the_cut_stays() -> None:
    """An edge that would lose a whole line for nothing."""
    line = "y" * 349
    text = f"before\n{line}\n{line}y"
    assert last_words(text) == f"{line}\n{line}y"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "", "--", "true"), "model: is ''"),
        (("train", "eta"), "lyftlearn train eta -- python train.py"),
        (("plan", "process", "a b"), "lyftlearn plan process 'a b' -- python train.py"),
        (("train", "eta", "--cpu", "nan", "--", "true"), "cpu"),
        (("train", "eta", "-p", f"a:={'[' * 100_000}", "--", "true"), "is not JSON"),
        (("jobs", "--since", "0001-01-01"), "since"),
        (("parity", "show", sys.executable), "is no text in UTF-8"),
        (("parity", "show", "/dev/null", "--html", ""), "html"),
        (("migration", "report", "--html", ""), "write the name of a file"),
        (("migration", "report", "--html", "/"), "write the name of a file"),
        (("parity", "show", "/dev/null", "--html", "/no/where/x"), "is no directory"),
    ],
)
def test_no_slip_is_answered_with_a_traceback(lyftlearn: CommandLine, words: tuple[str, ...], said: str) -> None:
    """What a person typed is their business, and gets a sentence."""
    ran = lyftlearn(*words)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_prediction_without_inputs_is_one(lyftlearn: CommandLine) -> None:
    """The API takes an empty mapping, so the command line takes none."""
    ran = lyftlearn("predict", "eta", "--artifact", "s3://bucket/model.tar.gz", "--json", "--", "true")
    assert ran.code == 0, ran.err
    assert ran.json["kind"] == "predict"


def test_a_working_directory_that_is_gone(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """A directory that a clean-up took away under a shell is what happened, not an unknown file."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone}; rmdir {gone}; exec {sys.executable} -m lyftlearn jobs"
    ran = subprocess.run(
        ["sh", "-c", script], env=dict(lyftlearn.environment), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 11
    assert "the working directory does not exist any more" in ran.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(lyftlearn: CommandLine, closed: str) -> None:
    """Some schedulers start programs so, and the next file that is opened must not become anybody's output."""
    command = f"{sys.executable} -m lyftlearn process eta --wait -- echo hello {closed}"
    ran = subprocess.run(
        ["sh", "-c", command], env=dict(lyftlearn.environment), cwd=lyftlearn.directory, check=False, timeout=600
    )
    assert ran.returncode == 0
    [job] = lyftlearn("jobs", "--json").json
    assert lyftlearn("logs", job["id"]).out.splitlines()[0] == "hello"


def test_a_full_disk_under_the_answer_is_said(lyftlearn: CommandLine) -> None:
    """An answer that nobody could read must not look like one that was read."""
    command = f"{sys.executable} -m lyftlearn backends > /dev/full"
    ran = subprocess.run(
        ["sh", "-c", command], env=dict(lyftlearn.environment), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 11
    assert "No space left" in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_it_runs_as_a_module(lyftlearn: CommandLine) -> None:
    """Where the script is not on the path, `python -m` is what everybody tries."""
    ran = subprocess.run([sys.executable, "-m", "lyftlearn"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stdout.startswith("usage: lyftlearn COMMAND")
