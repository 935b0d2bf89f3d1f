"""Checkpoints: restored at the start, copied while the command runs and at its end."""

from __future__ import annotations

import os
import sys
import threading

from .faults import RuntimeFailure
from .storage import join, put, store_for
from .transfer import fetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    Stamp = "tuple[int, int]"

INTERVAL = 30.0
"""Seconds between looks at the directory."""


class Checkpoints:
    """One directory and the URI that it is copied to. What the command deletes is deleted there too."""

    def __init__(self, directory: str, uri: str, interval: float = INTERVAL) -> None:
        self._directory = directory
        self._uri = uri
        self._interval = interval
        self._kept: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_syncing, daemon=True, name="checkpoints")

    def restore(self) -> None:
        """Bring back what an earlier run of the job kept."""
        fetch(self._uri, self._directory)
        self._kept = self._seen = self._look()

    def start(self) -> None:
        """Copy from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Copy what is left, after the command's end."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._seen = self._look()
        self._sync(self._seen)

    def _keep_syncing(self) -> None:
        while not self._end.wait(self._interval):
            now = self._look()
            settled = {name: stamp for name, stamp in now.items() if self._seen.get(name) == stamp}
            self._seen = now
            try:
                self._sync(settled, set(now))
            except (RuntimeFailure, OSError) as error:
                print(f"lyftlearn: checkpoints are not copied yet: {error}", file=sys.stderr)

    def _sync(self, settled: dict[str, tuple[int, int]], present: set[str] | None = None) -> None:
        """Upload what changed and stands still; delete what is gone."""
        for name, stamp in sorted(settled.items()):
            if self._kept.get(name) != stamp and not self._is_gone(name):
                put(os.path.join(self._directory, name), join(self._uri, name))
                self._kept[name] = stamp
        for name in set(self._kept) - (set(settled) if present is None else present):
            store_for(self._uri).remove(join(self._uri, name))
            del self._kept[name]

    def _is_gone(self, name: str) -> bool:
        return not os.path.isfile(os.path.join(self._directory, name))

    def _look(self) -> dict[str, tuple[int, int]]:
        stamps: dict[str, tuple[int, int]] = {}
        for directory, _, files in os.walk(self._directory):
            for file in files:
                path = os.path.join(directory, file)
                stamp = _stamp(path)
                if stamp:
                    stamps[os.path.relpath(path, self._directory)] = stamp
        return stamps


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
