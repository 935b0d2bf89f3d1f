"""What runs in the pods: the runtime, under a name that follows from its content."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class RuntimeConfigMap(NamedTuple):
    """name: of the ConfigMap that carries it; equal content, equal name. encoded: in base64, as a ConfigMap has it."""

    name: str
    encoded: str


def runtime_config_map(archive: Path) -> RuntimeConfigMap:
    """Return the archive at `archive` as what a ConfigMap holds."""
    content = archive.read_bytes()
    name = f"lyftlearn-runtime-{hashlib.sha256(content).hexdigest()[:16]}"
    return RuntimeConfigMap(name, base64.b64encode(content).decode())
