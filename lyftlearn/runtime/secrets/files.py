"""Secrets that the substrate has mounted as files."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def from_files(names: list[str], provider: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """One directory per secret, one file per key; names that begin with `..` are Kubernetes' own."""
    top = provider["path"]
    return {name: _read_all(os.path.join(top, name)) for name in names if os.path.isdir(os.path.join(top, name))}


def _read_all(directory: str) -> dict[str, bytes]:
    keys = [key for key in sorted(os.listdir(directory)) if not key.startswith("..")]
    return {key: _read(os.path.join(directory, key)) for key in keys if os.path.isfile(os.path.join(directory, key))}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
