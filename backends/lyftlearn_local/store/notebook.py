"""Where an open notebook is reached: its runtime writes that beside the run, for its owner alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lyftlearn_local.store.files import open_at_once

if TYPE_CHECKING:
    from lyftlearn.backend import NotebookAddress
    from lyftlearn_local.store.files import JobFiles

_LONGEST = 1 << 16  # bytes


def address(files: JobFiles) -> NotebookAddress | None:
    """Return the address; None while nothing answers there."""
    from lyftlearn.backend import NotebookAddress  # noqa: PLC0415 - only for notebooks

    try:
        with open(files.notebook_path, "rb", opener=open_at_once) as file:
            written = json.loads(file.read(_LONGEST))
    except FileNotFoundError:
        return None
    return NotebookAddress(f"http://127.0.0.1:{written['port']}{written['path']}")
