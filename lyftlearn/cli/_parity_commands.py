"""`parity run` and `parity show`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._text.small_file import read_small_text
from lyftlearn.cli import _output
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.cli._pages import page_path, write_page
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation
    from lyftlearn.parity._model import Parity
    from lyftlearn.parity._run import ComparisonProgress


def parity(invocation: Invocation) -> ExitCode:
    """Compare backends, or servers of models, or show a comparison."""
    if "serve" in invocation.arguments:
        from lyftlearn.cli import _served_parity  # noqa: PLC0415 - only for those who serve

        return _served_parity.compare(invocation)
    page = page_path(invocation.arguments)
    invocation.arguments.pop("html", None)
    found = _run(invocation) if invocation.function == "run" else _read(Path(invocation.arguments["file"]))
    if page is not None:
        from lyftlearn.parity import _page  # noqa: PLC0415 - only for those who want a page

        write_page(page, _page.page(found))
    _show(found, as_json=invocation.json)
    if found.holds:
        return ExitCode.DONE
    return ExitCode.JOB_FAILED if found.agrees else ExitCode.DIFFERENT


def _run(invocation: Invocation) -> Parity:
    with _progress_line() as on_update:
        return ops.parity(**invocation.arguments, on_update=on_update, client=Client(config=invocation.config))


def _read(path: Path) -> Parity:
    from lyftlearn.parity import _json  # noqa: PLC0415 - only to show what was kept

    return _json.load(_text_of(path), str(path))


def _text_of(path: Path) -> str:
    try:
        return read_small_text(path)
    except UnicodeDecodeError as exc:
        raise InvalidJob([(str(path), f"is no text in UTF-8: {exc}")]) from exc


def _show(found: Parity, *, as_json: bool) -> None:
    from lyftlearn.parity import _json, _terminal  # noqa: PLC0415 - the one draws

    if as_json:
        _output.say(_json.dump(found))
    else:
        _terminal.show(found)


@contextmanager
def _progress_line() -> Iterator[Callable[[ComparisonProgress], None]]:
    """Give what shows how far it is, on one line of a terminal; elsewhere on a line for each tenth."""
    terminal, started, said = _output.is_watched(), time.monotonic(), 0

    def update(progress: ComparisonProgress) -> None:
        nonlocal said
        tenth = 10 * progress.finished // progress.of
        text = _line(progress, time.monotonic() - started)
        if terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif tenth > said:
            said = tenth
            _output.note(text)

    try:
        yield update
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _line(progress: ComparisonProgress, seconds: float) -> str:
    each = ", ".join(f"{name} {finished} of {of}" for name, (finished, of) in progress.by_backend.items())
    return f"{progress.finished} of {progress.of} jobs after {seconds:.0f} s: {each}"
