"""Secrets that the substrate has put into the container."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = "LYFTLEARN_SUBSTRATE_SECRET_"


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


def from_variables(
    names: list[str], provider: dict[str, Any], environ: Mapping[str, str]
) -> dict[str, dict[str, bytes]]:
    """Variables `<prefix><place in names>_<key>`, which the command never sees under those names."""
    prefix = provider.get("prefix", PREFIX)
    found = {name: _with_prefix(f"{prefix}{index}_", environ) for index, name in enumerate(names)}
    return {name: keys for name, keys in found.items() if keys}


def _with_prefix(prefix: str, environ: Mapping[str, str]) -> dict[str, bytes]:
    return {
        name[len(prefix) :]: os.fsencode(value) for name, value in sorted(environ.items()) if name.startswith(prefix)
    }
