"""What runs in the pods: the runtime, and what keeps its log, under one name that follows from their content."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUNTIME, KEEPER = "runtime.pyz", "keep_log.py"


@dataclass(frozen=True)
class Program:
    """Files for a ConfigMap."""

    files: Mapping[str, bytes]

    @cached_property
    def name(self) -> str:
        """The ConfigMap's name: equal content, equal name."""
        digest = hashlib.sha256(b"".join(content for _, content in sorted(self.files.items())))
        return f"lyftlearn-runtime-{digest.hexdigest()[:16]}"

    @cached_property
    def encoded(self) -> dict[str, str]:
        """The files in base64, as a ConfigMap has them."""
        return {name: base64.b64encode(content).decode() for name, content in self.files.items()}

    def command(self, directory: str, *, keeps_log: bool) -> list[str]:
        """Return what a container runs."""
        program = [f"{directory}/{KEEPER}"] if keeps_log else [f"{directory}/{RUNTIME}", "run"]
        return ["python3", "-I", *program]


def program(runtime: Path) -> Program:
    """Return the program around the archive at `runtime`."""
    keeper = files("lyftlearn_kubernetes") / "_keep_log.py"
    return Program({RUNTIME: runtime.read_bytes(), KEEPER: keeper.read_bytes()})
