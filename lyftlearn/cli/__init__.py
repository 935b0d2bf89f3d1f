"""The command line `lyftlearn`: words in, the public calls, an exit code out."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from lyftlearn.cli import _call
from lyftlearn.cli._exits import Exit, exit_of
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from lyftlearn.cli._call import Call

# A command imports its own module only: what the others need stays unread.
_MODULES = {
    "_submit": ("train", "process", "predict"),
    "_find": ("jobs", "status", "logs", "wait", "stop", "download"),
    "_operate": ("plan", "explain", "backends", "doctor", "completion"),
    "_migration": ("migration",),
    "_parity": ("parity",),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code. Usage errors and `--help` raise SystemExit, as argparse has it."""
    _be_lenient()
    call = _call.read(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(call)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError as exc:
        _discard_output()
        return exit_of(exc)
    except (LyftLearnError, OSError, KeyboardInterrupt) as exc:
        return _complain(call, exc)
    except Exception:  # noqa: BLE001 - the last stop: an unforeseen error must not look like a failed job
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return Exit.INTERNAL
    return code


def _run(call: Call) -> Exit:
    module = next(name for name, commands in _MODULES.items() if call.command in commands)
    loaded = import_module(f"lyftlearn.cli.{module}")
    code: Exit = getattr(loaded, "run" if module == "_submit" else call.command)(call)
    return code


def _complain(call: Call, error: BaseException) -> Exit:
    if call.json:
        from lyftlearn.cli._output import error_document  # noqa: PLC0415

        print(json.dumps(error_document(error), default=str), file=sys.stderr)
    else:
        print(f"lyftlearn: {str(error) or 'interrupted'}", file=sys.stderr)
    return exit_of(error)


def _be_lenient() -> None:
    """Print what the terminal's encoding lacks as escapes, rather than fail over somebody's output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let the interpreter flush what is left into nothing, so that it has nothing to complain of at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
