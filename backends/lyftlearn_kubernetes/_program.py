"""What runs in the pods: the runtime, under a name that follows from its content."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Program:
    """name: of the ConfigMap that carries it; equal content, equal name. encoded: in base64, as a ConfigMap has it."""

    name: str
    encoded: str


def program(runtime: Path) -> Program:
    """Return the archive at `runtime` as a program."""
    content = runtime.read_bytes()
    name = f"lyftlearn-runtime-{hashlib.sha256(content).hexdigest()[:16]}"
    return Program(name, base64.b64encode(content).decode())
