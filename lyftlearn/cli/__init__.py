"""The command line `lyftlearn`: words in, the public calls, an exit code out."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lyftlearn.cli import _invocation
from lyftlearn.cli._exit_codes import ExitCode, exit_code
from lyftlearn.errors import InvalidJob, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation

# A command imports its own module only: what the others need stays unread.
_MODULES = {
    "_submit_commands": ("train", "process", "predict"),
    "_tuning_commands": ("tune", "trials"),
    "_job_commands": ("jobs", "status", "logs", "wait", "stop", "download"),
    "_top_command": ("top",),
    "_notebook_commands": ("notebook",),
    "_apply_command": ("apply",),
    "_operator_commands": ("plan", "explain", "backends", "config", "doctor", "clean", "completion"),
    "_cost_commands": ("cost", "collect"),
    "_serving_commands": ("serve",),
    "_migration_commands": ("migration",),
    "_parity_commands": ("parity",),
    "_dashboard_commands": ("dashboard",),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code. Usage errors and `--help` raise SystemExit, as argparse has it."""
    _be_lenient()
    warnings.showwarning = _show_warning
    if not _is_here():
        _note("the working directory does not exist any more: change to another one")
        return ExitCode.FILES
    invocation = _invocation.read(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(invocation)
        sys.stdout.flush()
    except BrokenPipeError as exc:
        _discard_output()
        return exit_code(exc)
    except (LyftLearnError, OSError, KeyboardInterrupt) as exc:
        code = _complain(invocation, exc)
        if not _flush_output():
            _discard_output()
    except Exception as exc:  # noqa: BLE001 - the last stop: an unforeseen error must not look like a failed job
        import traceback  # noqa: PLC0415

        from lyftlearn._text.redaction import redact_causes  # noqa: PLC0415 - as above

        _note("".join(traceback.format_exception(redact_causes(exc))))
        return ExitCode.INTERNAL
    return code


def _run(invocation: Invocation) -> ExitCode:
    module = next(name for name, commands in _MODULES.items() if invocation.command in commands)
    loaded = import_module(f"lyftlearn.cli.{module}")
    if invocation.json:
        import_module("lyftlearn.cli._next_steps").keep_configuration(invocation.config)
    code: ExitCode = getattr(loaded, "run" if module == "_submit_commands" else invocation.command)(invocation)
    return code


def _complain(invocation: Invocation, error: BaseException) -> ExitCode:
    if invocation.json:
        from lyftlearn.cli._output import error_document  # noqa: PLC0415

        _note(json.dumps(error_document(error), default=str))
    else:
        _note(f"lyftlearn: {str(error) or 'interrupted'}")
        _advise(invocation, error)
    return exit_code(error)


def _advise(invocation: Invocation, error: BaseException) -> None:
    """Say what to type where a submission lacks what its options give."""
    faults = error.faults if isinstance(error, InvalidJob) else []
    paths = {path for path, problem in faults if "after `--`" not in problem}  # whose fault does not say it already
    if "command" in paths and not invocation.arguments.get("command"):
        name = invocation.arguments.get("model", invocation.arguments.get("name", "NAME"))
        words = " ".join(filter(None, (invocation.command, invocation.function)))
        _note(f"the command comes last, after `--`: lyftlearn {words} {shlex.quote(name)} -- python train.py")


def _note(text: str) -> None:
    """Print what others may have worded, such as a server, without what a terminal would obey."""
    from lyftlearn._text.display import printable_lines  # noqa: PLC0415 - only for those who are told something

    print("\n".join(printable_lines(text)), file=sys.stderr)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Say what a warning says: where in the code it was raised is nothing to a person at a shell."""
    _note(f"lyftlearn: {message}")


def _is_here() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _be_lenient() -> None:
    """Print what the terminal's encoding lacks as escapes, and to nobody where whoever started us closed a stream."""
    for number in range(3):
        _open_if_closed(number)
    sys.stdout, sys.stderr = sys.stdout or _stream(1), sys.stderr or _stream(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_if_closed(number: int) -> None:
    """Hold a standard descriptor: else the next file that is opened takes its number, and children write into it."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _stream(number: int) -> TextIO:
    return os.fdopen(number, "w", closefd=False)


def _flush_output() -> bool:
    """Whether what was printed could be written: a full disk fails once more at the interpreter's end."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _discard_output() -> None:
    """Let the interpreter flush what is left into nothing, so that it has nothing to complain of at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
