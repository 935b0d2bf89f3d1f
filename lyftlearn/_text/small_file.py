"""Small files that somebody names: settings, flags, prices, a token. Whatever stands at the path, to read it ends."""

from __future__ import annotations

import errno
import os
import stat

LARGEST = 64 << 20
"""Bytes. A call may have 16 MiB of hyperparameters, twice over; a device, or a path that is wrong, may have no end."""


def read_small_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file, or of a pipe that somebody writes into. Raises OSError, also if it is too large."""
    with open(path, "rb", opener=_open_at_once) as file:
        content = file.read(LARGEST + 1)
        if not content and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "nobody writes into this pipe", str(path))
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST >> 20} MiB", str(path))
    return content


def read_small_text(path: str | os.PathLike[str]) -> str:
    """Return the same as text, without a byte order mark. Raises OSError, and UnicodeDecodeError if it is not UTF-8."""
    return read_small_file(path).decode("utf-8-sig")


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody who writes into a pipe; then to read waits for what is written."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor
