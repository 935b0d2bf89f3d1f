"""Texts of other programs as a person is shown them: harmless to a terminal, the line that tells most first."""

from __future__ import annotations

import re

# The line of a Python traceback that names the error, and what other languages print in its place.
# None of these is compiled before it is used: every import of lyftlearn would pay for it.
_ERROR = r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)(?::|$)|panic: |Error: "
_USER = r"(?<=://)[^/\s'\"]+(?=@)"
_QUERY = r"([?&][^=&#\s]+=)[^&#\s]+"
_COLOUR = r"(\x1b\[[0-9;:]*m)"
_UNSAFE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
_HIDDEN = "***"
_TRACEBACK = "Traceback (most recent call last)"


def printable(text: str) -> str:
    """Return `text` on one line and without what a terminal would obey, or would turn around."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def terminal_text(text: str) -> str:
    """Return a line of a program's output as a terminal may have it: colours, tabs and returns work, nothing else does.

    Other control characters are shown, such as `^[` for ESC, and those that turn text around as their numbers. Git does
    the same with what a server says (`sideband.allowControlCharacters`).
    """
    parts = re.split(_COLOUR, text)
    shown = "".join(part if at % 2 else re.sub(_UNSAFE, _caret, part) for at, part in enumerate(parts))
    return f"{shown}\x1b[m" if len(parts) > 1 else shown


def _caret(match: re.Match[str]) -> str:
    letter = match[0]
    return f"^{chr(ord(letter) ^ 64)}" if ord(letter) < 128 else f"<U+{ord(letter):04X}>"


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, each harmless to a terminal."""
    return [printable(line).rstrip() for line in text.splitlines()]


def without_credentials(text: str) -> str:
    """Return a text whose URLs show neither user, password, nor the values of a query."""
    return re.sub(_QUERY, rf"\1{_HIDDEN}", re.sub(_USER, _HIDDEN, text))


def telling_line(text: str) -> str:
    """Return the line that says what went wrong: of a traceback the one that names the error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    after = max((at for at, line in enumerate(lines) if _TRACEBACK in line), default=None)
    candidates = lines if after is None else lines[after:]
    named = [line for line in candidates if re.match(_ERROR, line)]
    return named[-1] if named else lines[-1]


def reason_of(error: BaseException) -> str:
    """Return an error's own words: of the system's without number and path, for the message that names the file."""
    return str(getattr(error, "strerror", None) or error)


def quote(value: object, most: int = 200) -> str:
    """Return what a message shows of a value that a person gave: never long, whatever the value does when asked."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - such as an integer of more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."
