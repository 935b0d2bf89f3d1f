"""What must never be read: secrets' values, and credentials of this container, in the runtime's own words."""

from __future__ import annotations

import io

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
    """A stream whose text is redacted first."""

    def __init__(self, stream: TextIO | TeeStream, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor

    def write(self, text: str) -> int:
        """Write at once, so that it does not come after what is printed later."""
        self._stream.write(self._redactor.redact(text))
        self._stream.flush()
        return len(text)


class FreshLine(io.TextIOBase):
    """A stream that ends the line which a command left open, before the first text that comes after it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._newline = "\n"

    def write(self, text: str) -> int:
        """Write, on a new line at first."""
        newline, self._newline = self._newline, ""
        self._stream.write(newline + text)
        self._stream.flush()
        return len(text)
