"""What must never be read: secrets' values, and credentials of this container, in the runtime's own words."""

from __future__ import annotations

import io
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from .log import TeeStream

MASK = "[secret]"
SHORTEST_SECRET = 4
"""A shorter value is no secret, and masking every `1` would leave nothing to read."""
SHORTEST_LINE = 8
"""Of a value of several lines, such as a private key, each longer line is one, too: they are printed one by one."""
CREDENTIALS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")


class Redactor:
    """Knows the values that must not be read, and takes them out of texts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values: set[str] = set()
        self.add(environ[name] for name in CREDENTIALS if name in environ)

    def add(self, values: Iterable[str]) -> None:
        """Remember more values."""
        for value in values:
            self._values |= {part for part in _parts(value) if len(part) >= SHORTEST_SECRET}

    def redact(self, text: str) -> str:
        """The text without any of them."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text


def _parts(value: str) -> set[str]:
    lines = value.strip().splitlines()
    return {value.strip(), *(line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE)}


class RedactedStream(io.TextIOBase):
    """A stream whose text is redacted first, and written line by line.

    A line is one write, for the command writes to the same file: `print` alone writes the newline apart.
    """

    def __init__(self, stream: TextIO | TeeStream, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor
        self._open_lines: dict[int, str] = {}  # by thread

    def write(self, text: str) -> int:
        """Write each line once it ends, so that it does not come after what is printed later."""
        lines, newline, rest = (self._open_lines.pop(get_ident(), "") + text).rpartition("\n")
        if rest:
            self._open_lines[get_ident()] = rest
        self._put(lines + newline)
        return len(text)

    def flush(self) -> None:
        """Write what has no end yet."""
        self._put(self._open_lines.pop(get_ident(), ""))

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(self._redactor.redact(text))
            self._stream.flush()


class FreshLine(io.TextIOBase):
    """A stream that ends the line which a command left open, before the first text that comes after it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._newline = "\n"

    def write(self, text: str) -> int:
        """Write, on a new line at first."""
        newline, self._newline = self._newline, ""
        self._stream.write(newline + text)
        return len(text)

    def flush(self) -> None:
        """Write what has no end yet."""
        self._stream.flush()
