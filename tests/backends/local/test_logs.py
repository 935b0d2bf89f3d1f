"""Lines come out as they went in: each once, exact, in order."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lyftlearn.backend import LogQuery
from lyftlearn_local.logs.capture import Capture
from lyftlearn_local.logs.reader import NodeLog
from lyftlearn_local.store.records import BrokenLog


class Written:
    """A node's log, and a reader of it."""

    def __init__(self, path: Path) -> None:
        self.log, self.index = path / "0.log", path / "0.index"
        self.capture = Capture(self.log, self.index)

    def write(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.capture.write(chunk)

    def reader(self, query: LogQuery | None = None) -> NodeLog:
        return NodeLog(self.log, self.index, 0, query or LogQuery())

    def texts(self, query: LogQuery | None = None) -> list[str]:
        return [line.text for line in self.reader(query).lines(to_the_end=True)]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_nothing_yet(tmp_path: Path) -> None:
    """Logs may be asked for before the node has started."""
    reader = NodeLog(tmp_path / "0.log", tmp_path / "0.index", 0, LogQuery())
    assert list(reader.lines(to_the_end=True)) == []


def test_a_line_in_many_chunks(written: Written) -> None:
    """Pipes cut lines anywhere, in the middle of a character too."""
    written.write(b"caf", "é".encode()[:1], "é".encode()[1:], b"\n\nlast")
    assert written.texts() == ["café", "", "last"]


def test_any_bytes(written: Written) -> None:
    """Progress bars, binary dumps and broken encodings reach the log too."""
    written.write(b"\x00\xff\xfe\r50%\r100%\n", b"\x1b[31mred\x1b[0m\n")
    assert written.texts() == ["\x00\ufffd\ufffd\r50%\r100%", "\x1b[31mred\x1b[0m"]
    assert written.log.read_bytes().startswith(b"\x00\xff\xfe")


def test_a_line_of_ten_megabytes(written: Written) -> None:
    """Somebody prints a whole table as JSON."""
    line = random.Random(1).randbytes(5_000_000).hex()
    data = (line + "\nnext\n").encode()
    written.write(*(data[at : at + 65536] for at in range(0, len(data), 65536)))
    assert written.texts() == [line, "next"]


def test_a_line_without_an_end(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress bar may print for days: it is given in parts, each once, and nothing holds all of it."""
    monkeypatch.setattr("lyftlearn_local.logs.reader.LONGEST_LINE", 1000)
    reader = written.reader(LogQuery(follow=True))
    text = "".join(f"{number}%\r" for number in range(1500))
    written.write(text.encode())
    seen = [line.text for line in reader.lines(to_the_end=False)]
    assert {len(part) for part in seen} == {1000}
    written.write(b"end\n" + b"x" * 1000 + b"\n" + b"y" * 1001 + b"\n\n")
    seen += [line.text for line in reader.lines(to_the_end=True)]
    parts = len(text + "end") // 1000 + 1
    assert "".join(seen[:parts]) == text + "end"
    assert seen[parts:] == ["x" * 1000, "y" * 1000, "y", ""]


def test_following_gives_each_line_once(written: Written) -> None:
    """A reader that polls must neither lose nor repeat the line that was half there."""
    reader = written.reader(LogQuery(follow=True))
    seen = []
    for chunk in (b"one\ntw", b"o\n", b"", b"thr", b"ee\nfour"):
        if chunk:
            written.write(chunk)
        seen += [line.text for line in reader.lines(to_the_end=False)]
    assert seen == ["one", "two", "three"]
    assert [line.text for line in reader.lines(to_the_end=True)] == ["four"]
    assert list(reader.lines(to_the_end=True)) == []


def test_random_cuts(written: Written) -> None:
    """Whatever the cuts of writes and the moments of reads, the lines are those that were printed."""
    rng = random.Random(7)
    expected = ["x" * rng.choice([0, 1, 10, 300_000]) + str(number) for number in range(60)]
    data = "".join(line + "\n" for line in expected).encode()
    reader, seen, at = written.reader(), [], 0
    while at < len(data):
        size = rng.choice([1, 100, 65536])
        written.write(data[at : at + size])
        at += size
        if rng.random() < 0.05:
            seen += [line.text for line in reader.lines(to_the_end=False)]
    seen += [line.text for line in reader.lines(to_the_end=True)]
    assert seen == expected


@pytest.mark.parametrize(
    ("data", "tail", "expected"),
    [
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc", 2, ["b", "c"]),
        (b"a\nb\nc\n", 9, ["a", "b", "c"]),
        (b"a\n\n\n", 2, ["", ""]),
        (b"a\nb\n", 0, []),
        (b"", 3, []),
        (b"\n" * 1_000_000, 3, ["", "", ""]),
    ],
)
def test_tail(written: Written, data: bytes, tail: int, expected: list[str]) -> None:
    """The last lines of a long log are found from its end."""
    if data:
        written.write(data)
    assert written.texts(LogQuery(tail=tail)) == expected


def test_times_and_since(written: Written) -> None:
    """A line bears the time at which its end arrived, and `since` that time begins with it."""
    begin = datetime.now(UTC)
    written.write(b"first\nsec")
    time.sleep(0.02)
    written.write(b"ond\n")
    time.sleep(0.02)
    written.write(b"third\n")
    found = list(written.reader().lines(to_the_end=True))
    assert [line.text for line in found] == ["first", "second", "third"]
    assert begin - timedelta(seconds=1) <= found[0].at < found[1].at < found[2].at <= datetime.now(UTC)
    assert written.texts(LogQuery(since=found[1].at)) == ["second", "third"]
    assert written.texts(LogQuery(since=found[2].at)) == ["third"]
    assert written.texts(LogQuery(since=found[2].at + timedelta(seconds=1))) == []
    assert written.texts(LogQuery(since=begin - timedelta(days=1), tail=1)) == ["third"]


def test_an_index_that_was_torn(written: Written) -> None:
    """A crash may leave half an entry; the lines before it keep their times."""
    written.write(b"one\n")
    with written.index.open("ab") as file:
        file.write(b"\x01\x02\x03")
    assert written.texts() == ["one"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("put", [Path.mkdir, _pipe, _circle])
def test_what_is_no_log_is_said(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """A pipe in its place would be waited for, and a directory was an error of nobody's."""
    put(tmp_path / "0.log")
    with pytest.raises(BrokenLog, match=r"0\.log cannot be read"):
        list(NodeLog(tmp_path / "0.log", tmp_path / "0.index", 0, LogQuery()).lines(to_the_end=True))


def test_a_directory_of_logs_that_is_a_file(tmp_path: Path) -> None:
    """Whoever looks for the log is told which path is not as it was."""
    (tmp_path / "logs").touch()
    reader = NodeLog(tmp_path / "logs/0.log", tmp_path / "logs/0.index", 0, LogQuery())
    with pytest.raises(BrokenLog, match="Not a directory"):
        list(reader.lines(to_the_end=True))


@pytest.mark.parametrize(
    "put", [Path.mkdir, _pipe, _circle, lambda _: None, lambda path: path.write_bytes(b"\xff" * 32)]
)
def test_a_log_without_its_index(written: Written, put: Callable[[Path], object]) -> None:
    """The lines are worth more than their times."""
    written.write(b"one\ntwo\n")
    written.capture.close()
    written.index.unlink()
    put(written.index)
    assert written.texts() == ["one", "two"]
    assert written.texts(LogQuery(tail=1)) == ["two"]
    assert written.texts(LogQuery(since=datetime.now(UTC) - timedelta(hours=1))) == ["one", "two"]
