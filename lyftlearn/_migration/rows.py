"""What a journal records: plain rows, without the library that writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class SubmissionRow:
    """One job that was accepted. stage: None where the operator's override decided. shadow_of: the job it doubles."""

    job_id: str
    at: datetime
    repository: str
    model: str
    kind: str
    stage: str | None
    source: str
    backend: str
    fell_back: bool
    shadow_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class RehearsalRow:
    """What stood against a job on the other backend: pairs of path and problem; none means that it would have run."""

    job_id: str
    backend: str
    faults: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """How a job ended.

    status: `succeeded`, `failed`, `stopped`; `refused` for a shadow that was never accepted; `unknown` where the
    backend does not keep the job any more.
    """

    job_id: str
    status: str
    reason: str | None
    exit_code: int | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """In what a shadow differed from its job: a sentence each; none means in nothing."""

    job_id: str
    shadow_id: str
    differences: Sequence[str]


Row: TypeAlias = SubmissionRow | RehearsalRow | OutcomeRow | ComparisonRow
