"""What the runtime left as its last words: the reader of what `lyftlearn.runtime.report` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lyftlearn.types import FailureReason, JobStatus

_PREFIX = "lyftlearn/1 "
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the command ended. exit_code: its own, None where it never ran or was stopped. message: its last words.

    Its fields are fields of `JobEvent`, and no others: backends spread a report into an event.
    """

    status: JobStatus
    reason: FailureReason | None
    exit_code: int | None
    attempt: int
    message: str


class CommandTimes(NamedTuple):
    """When the command first started and when it last ended, as the runtime saw it."""

    started_at: datetime
    finished_at: datetime


def read_report(text: str, *, within: bool = True) -> Report | None:
    """Return what `text` tells; None if the runtime left nothing that can be read.

    within: whether the report may stand anywhere in it, because the substrate adds words of its own.
    """
    before, _, rest = text.partition(_PREFIX)
    if before and not within:
        return None
    try:
        facts, end = json.JSONDecoder().raw_decode(rest)
        return _report(facts, rest[end:].strip())
    except (
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        OSError,
        RecursionError,
    ):  # a program may write there too, and whatever it likes
        return None


def _report(facts: dict[str, Any], message: str) -> Report:
    reason = FailureReason(facts["reason"]) if facts.get("reason") else None
    ended = JobStatus.STOPPED if facts.get("stopped") else JobStatus.SUCCEEDED
    code = facts.get("exit_code")
    return Report(
        status=JobStatus.FAILED if reason else ended,
        reason=reason,
        exit_code=None if code is None else _small(int(code)),
        attempt=max(1, _small(int(facts.get("attempt") or 1))),
        message=message,
    )


def _small(number: int) -> int:
    """Return a number that anybody can keep. Raises ValueError for another, which no runtime wrote."""
    if abs(number) > _LARGEST:
        raise ValueError("too large")
    return number


def read_idle(text: str) -> bool:
    """Return whether the report in `text` is of a notebook that the runtime stopped because nobody used it."""
    try:
        facts, _ = json.JSONDecoder().raw_decode(text.partition(_PREFIX)[2])
        return facts.get("idle") is True
    except (AttributeError, RecursionError, ValueError):
        return False


def read_command_times(text: str) -> CommandTimes | None:
    """Return the times in the report that `text` begins with; None if there is none, or if the command never ran."""
    try:
        facts, _ = json.JSONDecoder().raw_decode(text.removeprefix(_PREFIX))
        times = (facts["started_at"], facts["finished_at"])
        return CommandTimes(*(datetime.fromtimestamp(seconds, UTC) for seconds in times))
    except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError):
        return None
