"""The command line `lyftlearn`: words in, the public calls, an exit code out."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from lyftlearn.cli import _invocation
from lyftlearn.cli._exit_codes import ExitCode, exit_code
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation

# A command imports its own module only: what the others need stays unread.
_MODULES = {
    "_submit_commands": ("train", "process", "predict"),
    "_job_commands": ("jobs", "status", "logs", "wait", "stop", "download"),
    "_operator_commands": ("plan", "explain", "backends", "doctor", "completion"),
    "_migration_commands": ("migration",),
    "_parity_commands": ("parity",),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code. Usage errors and `--help` raise SystemExit, as argparse has it."""
    _be_lenient()
    invocation = _invocation.read(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(invocation)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError as exc:
        _discard_output()
        return exit_code(exc)
    except (LyftLearnError, OSError, KeyboardInterrupt) as exc:
        return _complain(invocation, exc)
    except Exception:  # noqa: BLE001 - the last stop: an unforeseen error must not look like a failed job
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return ExitCode.INTERNAL
    return code


def _run(invocation: Invocation) -> ExitCode:
    module = next(name for name, commands in _MODULES.items() if invocation.command in commands)
    loaded = import_module(f"lyftlearn.cli.{module}")
    code: ExitCode = getattr(loaded, "run" if module == "_submit_commands" else invocation.command)(invocation)
    return code


def _complain(invocation: Invocation, error: BaseException) -> ExitCode:
    if invocation.json:
        from lyftlearn.cli._output import error_document  # noqa: PLC0415

        print(json.dumps(error_document(error), default=str), file=sys.stderr)
    else:
        print(f"lyftlearn: {str(error) or 'interrupted'}", file=sys.stderr)
    return exit_code(error)


def _be_lenient() -> None:
    """Print what the terminal's encoding lacks as escapes, rather than fail over somebody's output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let the interpreter flush what is left into nothing, so that it has nothing to complain of at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
