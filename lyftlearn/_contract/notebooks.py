"""Where a notebook's run is opened."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

_FIRST_PORT, _PORTS = 20_000, 10_000  # below those that systems lend to connections


@dataclass(frozen=True)
class NotebookAddress:
    """Where a browser opens a notebook, its token included. forward: what must run on the reader's machine for that.

    `forward` is a command that a person can type; None where the URL leads there by itself.
    """

    url: str = field(repr=False)
    forward: str | None = None


def notebook_port(job_id: str) -> int:
    """Return the port of the reader's machine to which a run's port is forwarded: one of its own.

    With one number for all, a second notebook, or a JupyterLab of the reader's own, would be in the way.
    """
    return _FIRST_PORT + zlib.crc32(job_id.encode()) % _PORTS
