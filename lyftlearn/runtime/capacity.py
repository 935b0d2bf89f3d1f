"""The end of reserved capacity: when the platform takes this machine away, if it says so."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "SAGEMAKER_CURRENT_CAPACITY_BLOCK_EXPIRATION_TIMESTAMP"
"""In milliseconds since 1970: SageMaker AI Developer Guide, "Checkpoint your training job"."""
RECLAIMED_BEFORE = 1800.0
"""Seconds before the end of reserved capacity from which on SageMaker ends its instances (same page)."""
_FIRST_MILLISECOND = 1e11  # in seconds this is the year 5138, and some programs write seconds


class Capacity:
    """Reserved capacity. ends_at: from when on the machine may be taken away. expires_at: when it is gone for sure."""

    MESSAGE = "its reserved capacity ended"
    """As in `lyftlearn._contract.words`, which a test compares."""

    def __init__(self, expires_at: float) -> None:
        self.expires_at = expires_at
        self.ends_at = expires_at - RECLAIMED_BEFORE

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Capacity | None:
        """What the platform says; None where it says nothing, or nothing that can be true."""
        text = environ.get(VARIABLE, "0").strip() or "0"
        try:
            moment = float(text)
        except ValueError:
            moment = -1.0
        seconds = moment / 1000 if moment >= _FIRST_MILLISECOND else moment
        if time.time() < seconds < _FIRST_MILLISECOND:
            return cls(seconds)
        if moment != 0:
            print(f"lyftlearn: {VARIABLE} is {text[:40]!r}, which is no time to come: ignored", file=sys.stderr)
        return None

    def variables(self) -> dict[str, str]:
        """What the command is told."""
        return {"LYFTLEARN_CAPACITY_ENDS_AT": str(int(self.ends_at))}
