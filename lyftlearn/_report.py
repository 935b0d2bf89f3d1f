"""What the runtime left as its last words: the reader of what `lyftlearn.runtime.report` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from lyftlearn.types import FailureReason, JobStatus

_PREFIX = "lyftlearn/1 "


@dataclass(frozen=True, kw_only=True)
class Report:
    """How the command ended. exit_code: its own, None where it never ran or was stopped. message: its last words."""

    status: JobStatus
    reason: FailureReason | None
    exit_code: int | None
    attempt: int
    message: str


def read_report(text: str) -> Report | None:
    """Return what `text` tells, wherever in it the report begins; None if the runtime left none."""
    _, _, rest = text.partition(_PREFIX)
    try:
        facts, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return None
    reason = FailureReason(facts["reason"]) if facts.get("reason") else None
    ended = JobStatus.STOPPED if facts.get("stopped") else JobStatus.SUCCEEDED
    return Report(
        status=JobStatus.FAILED if reason else ended,
        reason=reason,
        exit_code=facts.get("exit_code"),
        attempt=max(1, facts.get("attempt") or 1),
        message=rest[end:].strip(),
    )
