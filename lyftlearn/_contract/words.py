"""Sentences that more than one place says. A comparison of backends holds messages to be equal, word for word."""

from __future__ import annotations

STOP_REQUESTED = "asked to stop"
OUT_OF_MEMORY = "killed by the kernel: the node needed more memory than resources.memory"
