"""The log of a container that is removed, kept by the runtime."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.runtime.log import BEGINNING, Log, TeeStream
from lyftlearn.runtime.output import BlankLines
from lyftlearn.runtime.redaction import FreshLine, RedactedStream, Redactor
from lyftlearn_sagemaker.log_text import as_printed

from .test_supervisor import runtime_pid

LINE = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (.*\n?)"


def kept(directory: Path, name: str = "0-0.log") -> tuple[bytes, bytes]:
    """The first line of a log, and what was printed, without times."""
    first, _, rest = (directory / name).read_bytes().partition(b"\n")
    found = [re.fullmatch(LINE, line) for line in rest.splitlines(keepends=True)]
    assert None not in found
    return first, b"".join(match[1] for match in found if match)


@pytest.mark.contract("C-LOG-2")
@given(st.lists(st.text(alphabet="a\n", min_size=1, max_size=6), max_size=8))
def test_lines_have_times_however_they_come(tmp_path_factory: pytest.TempPathFactory, chunks: list[str]) -> None:
    """Pipes cut lines anywhere, and a follower counts the lines that it was given."""
    directory = tmp_path_factory.mktemp("log")
    log = Log(str(directory), 0, str(directory), "pod-a")
    for chunk in chunks:
        log.write(chunk.encode())
    log.keep()
    assert kept(directory) == (b"pod-a", "".join(chunks).encode())


@pytest.mark.contract("C-LOG-1")
def test_every_container_has_its_own(tmp_path: Path) -> None:
    """A pod that replaces a lost one must not write over what the first one said."""
    for name in ("first", "second"):
        log = Log((tmp_path / "logs").as_uri(), 3, str(tmp_path), name)
        log.write(f"{name}\n".encode())
        log.keep()
    found = [kept(tmp_path / "logs", f"3-{number}.log") for number in (0, 1)]
    assert found == [(b"first", b"first\n"), (b"second", b"second\n")]


@pytest.mark.contract("C-LOG-4")
def test_a_storage_that_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The job's end is told whatever becomes of its log."""
    (tmp_path / "file").touch()
    log = Log(str(tmp_path / "file" / "below"), 0, str(tmp_path), "")
    log.write(b"words\n")
    log.keep()
    log.write(b"from a process that escaped\n")
    assert "the log was not kept" in capsys.readouterr().err


def test_a_disk_that_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What fitted is kept, and the command's output goes on."""
    log = Log(str(tmp_path), 0, str(tmp_path), "")
    log.write(b"fits\n")
    full = os.open("/dev/full", os.O_WRONLY)
    room = os.dup(log._file.fileno())
    os.dup2(full, log._file.fileno())
    log.write(b"does not fit\n")
    os.dup2(room, log._file.fileno())
    log.write(b"comes later\n")
    log.keep()
    assert kept(tmp_path)[1] == b"fits\n"
    assert "kept in part: No space left" in capsys.readouterr().err


def test_the_runtime_s_own_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why a job could not start stands in its log, and is read there after the pod is gone."""
    log = Log(str(tmp_path), 0, str(tmp_path), "")
    print("lyftlearn: no such input", file=TeeStream(sys.stderr, log))
    log.keep()
    assert kept(tmp_path)[1] == b"lyftlearn: no such input\n"
    assert capsys.readouterr().err == "lyftlearn: no such input\n"


def test_a_line_of_the_runtime_is_one_write() -> None:
    """The command writes to the same file: what is written in parts has its lines in between."""
    writes: list[str] = []

    class Recording(io.TextIOBase):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    recording: Any = Recording()
    redacted: Any = RedactedStream(recording, Redactor({"AWS_SESSION_TOKEN": "abcd-efgh"}))
    stream = FreshLine(redacted)
    print("the token", "abcd-", file=stream, end="")
    other = threading.Thread(target=print, args=("from a thread",), kwargs={"file": stream})
    other.start()
    other.join()
    print("efgh", file=stream, flush=True)
    print("no end", file=stream, end="", flush=True)
    assert writes == ["\n", "from a thread\n", "the token [secret]\n", "no end"]


@pytest.mark.contract("C-LOG-3")
@pytest.mark.parametrize("substrate", ["kubernetes", "local"])
def test_the_whole_output_of_a_container(containers: Any, substrate: str) -> None:
    """What the pod's log has, the kept one has: both streams, every attempt, and what is said on a stop."""
    script = (
        "trap 'echo bye; exit 0' TERM; echo out; echo err >&2; [ $LYFTLEARN_ATTEMPT = 2 ] || exit 1; sleep 60 & wait"
    )
    container = containers.make(substrate, ["sh", "-c", script], retries=1, grace=20)
    logs = container.directory / "kept" / "logs"
    container.document["log"] = logs.as_uri()
    container.variables["LYFTLEARN_SUBSTRATE_CONTAINER"] = "pod-a"
    process = container.start()
    before = b"".join(process.stdout.readline() for _ in range(4))
    os.kill(runtime_pid(process), signal.SIGTERM)
    output = before + process.communicate(timeout=600)[0]
    assert output == b"out\nerr\nout\nerr\nbye\n"
    assert kept(logs) == (b"pod-a", output)
    assert container.result(process.returncode, output).facts["stopped"] is True


@pytest.mark.contract("C-LOG-5")
def test_when_the_beginning_of_a_long_log_was_complete(tmp_path: Path) -> None:
    """A node drops what is old of a log, and nobody else could say whether the first line that is left is the first."""
    log = Log(str(tmp_path), 0, str(tmp_path), "pod-a")
    log.write(b"x" * (BEGINNING - 1))
    assert not finished_notes(tmp_path)
    log.write(b"\n")
    (at,) = finished_notes(tmp_path)
    log.write(b"x" * BEGINNING)
    assert finished_notes(tmp_path) == [at]
    log.keep()
    (line, _) = (tmp_path / "0-0.log").read_bytes().splitlines()[1:]
    assert re.fullmatch(LINE, at + b" ")
    assert line[: len(at)] < at


def finished_notes(directory: Path) -> list[bytes]:
    """The notes in a storage, once nobody writes one."""
    for thread in threading.enumerate():
        if thread.name == "log":
            thread.join()
    return [path.read_bytes().strip() for path in directory.glob("*.beginning")]


def test_why_a_job_did_not_start_is_kept(containers: Any) -> None:
    """The runtime's message is the whole log of such a job."""
    container = containers.make("kubernetes", ["not-in-the-image"])
    container.document["log"] = str(container.directory / "kept" / "logs")
    result = container.run()
    assert b"not-in-the-image" in result.output
    assert kept(container.directory / "kept" / "logs")[1] == result.output


@given(st.text(alphabet="a \n", max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_blank_lines_survive_a_service_that_takes_no_empty_message(text: str, cuts: list[int]) -> None:
    """CloudWatch drops them; wherever the pipe cuts the output, its reader gets every line back, and no other line."""
    blank, carried = BlankLines(), b""
    for start, end in itertools.pairwise([0, *sorted(cuts), len(text)]):
        carried += blank.pad(text[start:end].encode()) if end > start else b""
    messages = (carried + blank.end()).decode().removesuffix("\n").split("\n") if text else []
    assert "" not in messages
    assert [as_printed(message) for message in messages] == (text.removesuffix("\n").split("\n") if text else [])
