"""Lines of a log that are the runtime's own, where a log service writes control characters as `#ooo`.

SageMaker hands a container's output on as syslog does: a TAB arrives as `#011`, a carriage return as `#015`. Whoever
reads such a log cannot tell them from the same four characters that a command printed. So the `#` of those is written
as `#043`, its own number. And because no command's line can then begin with `#400`, which is no byte's number, that
marks the lines that the runtime writes for whoever reads the log: how often the command was started, and that nothing
follows.
"""

from __future__ import annotations

import os

from .json_text import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROGRESS_VARIABLE = "LYFTLEARN_SUBSTRATE_PROGRESS"
MARK = "#400"
_SIGN = rb"#(?=[0-7]{3})"
_CUT = rb"#[0-7]{0,2}\Z"
_ESCAPED_SIGN = b"#043"


class EscapedSigns:
    """Writes `#` before three octal digits as `#043`."""

    def __init__(self) -> None:
        self._held = b""

    def pad(self, chunk: bytes) -> bytes:
        """Return the next bytes of the output, cut anywhere; what may be the start of an escape waits for its end."""
        text = self._held + chunk
        import re

        match = re.search(_CUT, text)
        self._held = text[match.start() :] if match else b""
        return re.sub(_SIGN, _ESCAPED_SIGN, text[: len(text) - len(self._held)])

    def end(self) -> bytes:
        """Return what still waits."""
        held, self._held = self._held, b""
        return held


def is_marked(environ: Mapping[str, str]) -> bool:
    """Whether the log carries marks."""
    return environ.get(PROGRESS_VARIABLE) == MARK


def write_note(event: Mapping[str, Any], output: int = 1) -> None:
    """Write a line of the runtime's own. The empty line that may come before it is none of the command's."""
    text = f"\n{MARK}{dumps(event)}\n"
    os.write(output, text.encode())


def note_end(environ: Mapping[str, str]) -> None:
    """Say that nothing follows."""
    if not is_marked(environ):
        return
    try:
        write_note({"event": "ended"})
    except OSError:  # nobody reads any more: the job ends all the same
        return
