"""What CloudWatch shows of a line, and what the job printed.

SageMaker escapes control characters as syslog does: `#011` is a TAB. The runtime writes `#` as `#043` where three octal
digits follow, so that nothing a command prints looks like that, and begins its own lines with `#400`, which is no
byte's number. Jobs of version 1.0.0 did not: of theirs nothing is certain, and lines are given as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

PROGRESS_VARIABLE = "LYFTLEARN_SUBSTRATE_PROGRESS"
MARK = "#400"
"""The variable's value with which the runtime marks its lines; `-` is that of version 1.0.0."""
_RUNNING = r'\{"event": "running", "attempt": ([0-9]+), "at": [0-9.]+\}'
ATTEMPT_LINE = f"^{MARK}{_RUNNING}"
"""For SageMaker, which reads the number of the attempt from such a line as a metric."""
_NOTE = re.compile(_RUNNING)
_ESCAPES = re.compile(r"(?:#(?:0[0-3][0-7]|043|177|[23][0-7]{2}))+")
_END = f'{MARK}{{"event": "ended"}}'


class Writing(StrEnum):
    """How a job's runtime writes its log. NOTED: its notes look like what anybody may print."""

    MARKED = "marked"
    NOTED = "noted"
    PLAIN = "plain"


def writing_of(environment: Mapping[str, str]) -> Writing:
    """Return how the job with these variables writes."""
    return {MARK: Writing.MARKED, "-": Writing.NOTED}.get(environment.get(PROGRESS_VARIABLE, ""), Writing.PLAIN)


def printed_line(message: str, writing: Writing) -> str | None:
    """Return the line that the job printed, or None for a line that is none of the command's."""
    text = message.removesuffix("\n")
    if writing is Writing.MARKED:
        return None if not text or text.startswith(MARK) else as_printed(_ESCAPES.sub(_unescape, text))
    return None if writing is Writing.NOTED and _NOTE.fullmatch(text) else as_printed(text)


def says_end(message: str) -> bool:
    """Whether nothing follows in this stream."""
    return message.removesuffix("\n") == _END


def as_printed(text: str) -> str:
    """Return a line without the space by which the runtime carries blank ones: CloudWatch takes no empty message."""
    return text if text.strip(" ") else text[1:]


def _unescape(match: re.Match[str]) -> str:
    return bytes(int(code, 8) for code in match[0].split("#")[1:]).decode("utf-8", "replace")
