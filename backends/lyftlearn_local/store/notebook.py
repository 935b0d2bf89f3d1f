"""Where an open notebook is reached: its runtime writes that beside the run, for its owner alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lyftlearn.backend import NotebookAddress

if TYPE_CHECKING:
    from lyftlearn_local.store.files import JobFiles


def address(files: JobFiles) -> NotebookAddress | None:
    """Return the address; None while nothing answers there."""
    try:
        written = json.loads(files.notebook_path.read_bytes())
    except FileNotFoundError:
        return None
    return NotebookAddress(f"http://127.0.0.1:{written['port']}{written['path']}")
