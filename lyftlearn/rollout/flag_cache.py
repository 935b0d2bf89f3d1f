"""The flag's last answers, on disk, for the time when its service is away."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lyftlearn._contract.private import make_private
from lyftlearn._text.whole_file import write_whole_file
from lyftlearn.rollout.stage import Stage

_KEPT = 30 * 24 * 3600.0  # seconds since an answer was last given
_MOST_SEEN = 10_000
_LONGEST = 10_000  # characters of a file: what this wrote has a hundred


class PersistentFlagCache:
    """A file for each set of attributes, for a month.

    Reading and writing never raise: this is a convenience, not a record.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, Stage] = {}

    def keep(self, flag: str, attributes: Mapping[str, Any], stage: Stage) -> None:
        """Remember an answer, also for later processes."""
        name = _name(flag, attributes)
        if self._seen.get(name) is stage:
            return
        first = not self._seen
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[name] = stage
        with suppress(OSError):
            make_private(self._directory)
            if first:
                self._remove_old()
            write_whole_file(self._directory / name, json.dumps({"flag": flag, "stage": stage}))

    def forget(self, flag: str, attributes: Mapping[str, Any]) -> None:
        """Drop what was known for these attributes: the flag has taken it back."""
        name = _name(flag, attributes)
        self._seen.pop(name, None)
        with suppress(OSError):
            (self._directory / name).unlink()

    def find(self, flag: str, attributes: Mapping[str, Any]) -> Stage | None:
        """Return the last answer for these attributes, or None."""
        name = _name(flag, attributes)
        if name in self._seen:
            return self._seen[name]
        try:
            with (self._directory / name).open(encoding="utf-8") as file:
                return Stage(json.loads(file.read(_LONGEST))["stage"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _remove_old(self) -> None:
        oldest = time.time() - _KEPT
        for entry in os.scandir(self._directory):
            with suppress(OSError):
                if entry.stat().st_mtime < oldest:
                    Path(entry).unlink()


def _name(flag: str, attributes: Mapping[str, Any]) -> str:
    text = json.dumps([flag, dict(attributes)], sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
