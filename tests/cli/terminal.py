"""The command line on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .conftest import CommandLine, as_from_a_terminal

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command with a terminal for one of its streams, or for both; what has none is the file `out`."""

    def __init__(
        self, lyftlearn: CommandLine, out: Path, *words: str, stream: str = "stderr", **variables: str
    ) -> None:
        self._reading, writing = pty.openpty()
        environment = {**lyftlearn.environment, "TERM": "xterm-256color", **variables}
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lyftlearn.cli", *words],
                cwd=lyftlearn.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=writing if stream in {"stdout", "both"} else file,
                stderr=writing if stream in {"stderr", "both"} else file,
                preexec_fn=as_from_a_terminal,  # noqa: PLW1509 - one call, and no thread of ours holds a lock
            )
        os.close(writing)

    def pieces(self) -> Iterator[str]:
        """Yield what appears, as it appears, until the command ends."""
        while True:
            try:
                piece = os.read(self._reading, 65536)
            except OSError:  # EIO: nobody holds the other end any more
                piece = b""
            if not piece:
                os.close(self._reading)
                return
            yield piece.decode()

    def seen(self) -> str:
        """Return all of it, without what moves the cursor."""
        return _ESCAPES.sub("", "".join(self.pieces()))
