"""What `lyftlearn doctor` is told by a backend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check went.

    After a warning, jobs run, but something is lost, which the check's detail names. After a failure, jobs cannot run.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that `lyftlearn doctor` checked: its name, the verdict, and what was seen or what to do."""

    name: str
    verdict: Verdict
    detail: str
