"""Files of text that are whole whenever somebody looks at them."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole_file(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file under another name beside its own, and move it there. Raises OSError, and leaves nothing then.

    mode: of the file, less the process's umask.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - with a mode
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
