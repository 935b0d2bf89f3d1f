"""Where a job went, and why: what the job itself carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lyftlearn._jobs.job import Job
from lyftlearn.errors import LyftLearnError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A job's backend and the decision that chose it; None for what its substrate has not kept.

    stage: of the migration, None also where there is none. reason, source: why, and who said so. fell_back: whether
    the backend of first choice had refused the job.
    """

    backend: str | None
    stage: str | None
    reason: str | None
    source: str | None
    fell_back: bool


def placement(job: Job) -> Placement:
    """Return where a job went, and why. Asks nobody."""
    decision = _decision(job._record.decision)  # noqa: SLF001 - a friend of the handle
    return Placement(
        backend=_backend(job) or _text(decision, "backend"),
        stage=_text(decision, "stage"),
        reason=_text(decision, "reason"),
        source=_text(decision, "source"),
        fell_back=decision.get("fell_back") is True,
    )


def _backend(job: Job) -> str | None:
    try:
        return job._shared_watch().backend.name  # noqa: SLF001 - a friend of the handle
    except LyftLearnError:  # a backend that is not installed here has a name only in the decision
        return None


def _decision(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(decision: Mapping[str, Any], key: str) -> str | None:
    value = decision.get(key)
    return value if isinstance(value, str) else None
