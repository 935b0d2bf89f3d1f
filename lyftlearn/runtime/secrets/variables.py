"""Secrets that the substrate has put into the container's variables."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = "LYFTLEARN_SUBSTRATE_SECRET_"


def from_variables(
    names: list[str], provider: dict[str, Any], environ: Mapping[str, str]
) -> dict[str, dict[str, bytes]]:
    """Variables `<prefix><index in names>_<key>`, which the command never sees under those names."""
    prefix = provider.get("prefix", PREFIX)
    by_name = {name: _with_prefix(f"{prefix}{index}_", environ) for index, name in enumerate(names)}
    return {name: keys for name, keys in by_name.items() if keys}


def _with_prefix(prefix: str, environ: Mapping[str, str]) -> dict[str, bytes]:
    return {
        name[len(prefix) :]: os.fsencode(value) for name, value in sorted(environ.items()) if name.startswith(prefix)
    }
