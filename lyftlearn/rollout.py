"""Which backend a job goes to, and why.

Who decides, first match wins: `LYFTLEARN_BACKEND`, the operator's override; `backend` in `lyftlearn.toml`, the
repository's or the platform's; else `local`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from lyftlearn.config import Config

OVERRIDE = "LYFTLEARN_BACKEND"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer, with its reason. Every job carries it.

    source: which of the sources decided. asked: every source in order, and what it said.
    """

    backend: str
    reason: str
    source: str
    asked: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def as_json(self) -> str:
        """Return one line, without what other sources said: it travels with the job."""
        return json.dumps({"backend": self.backend, "reason": self.reason, "source": self.source}, sort_keys=True)


def decide(config: Config) -> Decision:
    """Return the backend of a job that is submitted now. Never raises."""
    override = os.environ.get(OVERRIDE, "")
    origin = str(config.source) if config.source else "defaults"
    asked = ((OVERRIDE, override or "not set"), (origin, config.backend))
    if override:
        return Decision(backend=override, reason=f"{OVERRIDE} says so", source=OVERRIDE, asked=asked)
    return Decision(backend=config.backend, reason=f"`backend` in {origin}", source=origin, asked=asked)


def in_use(config: Config) -> list[str]:
    """Return the backends whose jobs belong to this configuration, without doubles."""
    return list(dict.fromkeys(name for name in (decide(config).backend, config.backend) if name))
