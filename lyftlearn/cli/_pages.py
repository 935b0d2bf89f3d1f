"""Pages that a command writes: looked at before anything runs, and put in place in one step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lyftlearn._text.whole_file import write_whole_file
from lyftlearn.cli import _output
from lyftlearn.errors import InvalidJob


def page_path(arguments: Mapping[str, Any]) -> Path | None:
    """Return the file that `--html` names, if any. Raises InvalidJob for one that cannot be written to."""
    if "html" not in arguments:
        return None
    path = Path(arguments["html"])
    if not arguments["html"] or path.is_dir():
        raise InvalidJob([("html", f"is {arguments['html']!r}: write the name of a file")])
    if not path.absolute().parent.is_dir():
        raise InvalidJob([("html", f"{path.absolute().parent} is no directory: make it, or name another")])
    return path


def write_page(path: Path, text: str) -> None:
    """Write a page, and say where."""
    write_whole_file(path, text)
    _output.note(f"written to {path}")
