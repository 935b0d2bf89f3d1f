"""The flag's last answers, on disk, for the time when its service is away."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lyftlearn._stages import Stage


class LastKnown:
    """A file for each set of attributes. Reading and writing never raise: this is a convenience, not a record."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, Stage] = {}

    def keep(self, flag: str, attributes: Mapping[str, Any], stage: Stage) -> None:
        """Remember an answer, also for later processes."""
        name = _name(flag, attributes)
        if self._seen.get(name) is stage:
            return
        self._seen[name] = stage
        path = self._directory / name
        draft = path.with_name(f"{name}.{os.getpid()}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"flag": flag, "stage": stage}), encoding="utf-8")
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink()

    def find(self, flag: str, attributes: Mapping[str, Any]) -> Stage | None:
        """Return the last answer for these attributes, or None."""
        name = _name(flag, attributes)
        if name in self._seen:
            return self._seen[name]
        try:
            return Stage(json.loads((self._directory / name).read_text(encoding="utf-8"))["stage"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _name(flag: str, attributes: Mapping[str, Any]) -> str:
    text = json.dumps([flag, dict(attributes)], sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
