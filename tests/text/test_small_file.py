"""Whatever stands at a path that somebody names, to read it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lyftlearn._text import small_file
from lyftlearn._text.small_file import read_small_file, read_small_text


def test_a_file(tmp_path: Path) -> None:
    """Editors of other systems begin it with a byte order mark."""
    path = tmp_path / "settings"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert (read_small_text(path), read_small_file(path)) == ("a = 1\r\n", b"\xef\xbb\xbfa = 1\r\n")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        read_small_text(path)


def test_nothing() -> None:
    """It is how one says that there is no configuration."""
    assert read_small_text(os.devnull) == ""


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, small_file.LARGEST + 1)


@pytest.mark.parametrize(
    ("put", "number"),
    [
        (_endless, errno.EFBIG),
        (_large, errno.EFBIG),
        (os.mkfifo, errno.EINVAL),
        (Path.mkdir, errno.EISDIR),
        (lambda path: path.symlink_to(path.name), errno.ELOOP),
        (lambda _: None, errno.ENOENT),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, put: Callable[[Path], None], number: int) -> None:
    """A device has no end, and a pipe may have no writer: whoever reads it is told, and does not wait."""
    put(tmp_path / "settings")
    with pytest.raises(OSError, match=r".") as raised:
        read_small_file(tmp_path / "settings")
    assert (raised.value.errno, bool(raised.value.strerror)) == (number, True)
    assert str(raised.value.filename) == str(tmp_path / "settings")


def test_the_output_of_a_program() -> None:
    """A shell's `<(...)` is a pipe with a writer, who may take his time."""
    reader, writer = os.pipe()
    try:
        if os.fork() == 0:
            os.close(reader)
            for part in (b"a = ", b"1\n"):
                os.write(writer, part)
            os._exit(0)
        os.close(writer)
        assert read_small_text(f"/dev/fd/{reader}") == "a = 1\n"
    finally:
        os.close(reader)
        os.wait()
