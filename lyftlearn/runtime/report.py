"""The report to the platform about the end: one line for machines, then the last words of a failure."""

from __future__ import annotations

import os
import sys

from .detect import KUBERNETES, SERVING, TRAINING
from .json_text import dumps
from .log_marks import MARK, PROGRESS_VARIABLE, write_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .layout import Layout
    from .redaction import Redactor

PREFIX = "lyftlearn/1 "
LAST_WORDS = 700
"""Characters that the report quotes. Kubernetes keeps 4096 bytes; SageMaker 1024 characters, first line included."""
REPORT_VARIABLE = "LYFTLEARN_SUBSTRATE_REPORT"
IN_THE_LOG = "-"
TERMINATION_LOG = "/dev/termination-log"


class Report:
    """Where the platform reads how the job ended."""

    def __init__(self, path: str | None, reports_success: bool, redactor: Redactor) -> None:
        self._path = path
        self._reports_success = reports_success
        self.redactor = redactor

    def write(self, facts: Mapping[str, Any], message: str) -> None:
        """Write the report. A file that cannot be written is named on stderr and changes nothing else."""
        failed = bool(facts.get("reason") or facts.get("stopped"))
        if self._path is None or not (failed or self._reports_success):
            return
        line = PREFIX + dumps(dict(facts), ",", ":")
        words = self._words(facts, message)
        try:
            _put(self._path, (line + "\n" + words).encode("utf-8", "replace"))
        except OSError as error:
            print(f"lyftlearn: the report cannot be written to {self._path}: {error.strerror}", file=sys.stderr)

    def _words(self, facts: Mapping[str, Any], message: str) -> str:
        """The command's own of a failure, the runtime's of what it stopped itself."""
        if not (facts.get("reason") or facts.get("idle")):
            return ""
        own = "" if facts.get("idle") else self._command_words()
        return last_words(self.redactor.redact(own or message))

    def _command_words(self) -> str:
        """A program may have left its last words by itself, as each platform documents."""
        try:
            with open(self._path or "", encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 16)
        except OSError:
            return ""
        return "" if text.startswith(PREFIX) else text


def last_words(text: str) -> str:
    """The end of `text` that every platform takes, from the start of a line where there is one."""
    text = text.rstrip()
    words = text[-LAST_WORDS:]
    cut = len(text) > LAST_WORDS and text[-LAST_WORDS - 1] != "\n"
    return words.partition("\n")[2].lstrip("\n") or words if cut else words


def report_for(substrate: str, environ: Mapping[str, str], layout: Layout, redactor: Redactor) -> Report:
    """Where this substrate reads last words from. SageMaker takes the file's being there for a failure."""
    path = environ.get(REPORT_VARIABLE)
    if substrate == TRAINING:
        return Report(path or os.path.join(layout.ml, "output", "failure"), reports_success=False, redactor=redactor)
    if substrate in (KUBERNETES, SERVING):
        return Report(path or TERMINATION_LOG, reports_success=True, redactor=redactor)
    return Report(path, reports_success=True, redactor=redactor)


def _put(path: str, content: bytes) -> None:
    if os.path.ismount(path) or path == TERMINATION_LOG:
        _overwrite(path, content)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.urandom(4).hex()}"
    _overwrite(temporary, content)
    os.replace(temporary, path)


def _overwrite(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def note_begin(environ: Mapping[str, str]) -> None:
    """Make the file in which the command's start will be noted: whoever waits outside sees that the runtime runs."""
    path = environ.get(PROGRESS_VARIABLE)
    if path and path not in (IN_THE_LOG, MARK):
        try:
            open(path, "ab").close()
        except OSError as error:
            print(f"lyftlearn: {error}", file=sys.stderr)


def note_start(environ: Mapping[str, str], attempt: int, at: float, output: str) -> None:
    """Append the command's start to what is read from outside, where that is named: a file, or the log.

    In the log it is a line of its own after what the last attempt `output`. A first attempt is not noted there.
    """
    path = environ.get(PROGRESS_VARIABLE)
    if not path or (path in (IN_THE_LOG, MARK) and attempt == 1):
        return
    event = dumps({"event": "running", "attempt": attempt, "at": at}) + "\n"
    try:
        if path == MARK:
            write_note({"event": "running", "attempt": attempt, "at": at})
        elif path == IN_THE_LOG:
            os.write(1, (event if output[-1:] in ("", "\n") else f"\n{event}").encode())
        else:
            with open(path, "ab", buffering=0) as file:
                file.write(event.encode())
    except OSError as error:
        print(f"lyftlearn: the start of attempt {attempt} cannot be noted: {error.strerror}", file=sys.stderr)
