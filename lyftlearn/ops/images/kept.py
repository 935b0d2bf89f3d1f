"""What was found of images, kept by their content: a digest never means anything else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lyftlearn._contract.private import make_private
from lyftlearn._text.small_file import read_small_file
from lyftlearn._text.whole_file import write_whole_file
from lyftlearn.ops.images.facts import ImageContents, ImageFacts

_VERSION = 1
"""Of the files. What another version wrote is looked for anew."""


class KeptFacts:
    """Files below a directory, which anybody may remove. fresh: whether images are looked at anew all the same."""

    def __init__(self, directory: Path, *, fresh: bool = False) -> None:
        self._directory = directory
        self._fresh = fresh

    def facts(self, digest: str, look: Callable[[], ImageFacts]) -> ImageFacts:
        """Return what is kept of the content with this digest, else what `look` finds, which is kept from now on."""
        path = self._directory / f"{hashlib.sha256(digest.encode()).hexdigest()}.json"
        kept = None if self._fresh else _read(path)
        return kept or self._keep(path, look())

    def _keep(self, path: Path, facts: ImageFacts) -> ImageFacts:
        with suppress(OSError):  # the next one looks again
            make_private(self._directory)
            write_whole_file(path, json.dumps({"version": _VERSION, **asdict(facts)}))
        return facts


def _read(path: Path) -> ImageFacts | None:
    """Return what is in a file; None for one that is cut, changed or of another version."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fields: dict[str, Any] = json.loads(read_small_file(path))
        if fields.pop("version") == _VERSION:
            contents = fields["contents"]
            fields |= {name: tuple(fields[name]) for name in ("platforms", "entrypoint")}
            fields["contents"] = contents and ImageContents(**{**contents, "python": _pair(contents["python"])})
            return ImageFacts(**fields)
    return None


def _pair(version: list[int] | None) -> tuple[int, int] | None:
    return None if version is None else (version[0], version[1])
