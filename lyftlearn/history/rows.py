"""What the history is told: plain rows, without the library that writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

LONGEST_VERSION = 32
"""Characters of a version that are kept. One that somebody built may have a long local part."""


@dataclass(frozen=True, kw_only=True)
class SubmissionRow:
    """One job that was accepted.

    stage: None where no migration is configured, or the operator's override decided. source: what decided. shadow_of:
    the job that it doubles. resources: the fields of `ResourceRequest`, for each node. decision: as the job carries it.
    features: of `FEATURES` in `lines`, those that it uses. Everything with a default may be unknown: whoever saw only
    the job's end knows little of its submission.
    """

    job_id: str
    at: datetime
    model: str
    kind: str
    backend: str
    repository: str | None = None
    stage: str | None = None
    source: str | None = None
    fell_back: bool = False
    shadow_of: str | None = None
    project: str | None = None
    team: str | None = None
    owner: str | None = None
    nodes: int | None = None
    digest: str | None = None
    labels: Mapping[str, str] | None = None
    decision: str | None = None
    resources: Mapping[str, Any] | None = None
    outputs: Mapping[str, str] | None = None
    command: Sequence[str] | None = None
    image: str | None = None
    code: str | None = None
    version: str | None = None
    features: Sequence[str] | None = None


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
    backend does not keep the job any more, until somebody knows better.
    """

    job_id: str
    status: str
    reason: str | None
    exit_code: int | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    message: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What a job used and what that cost.

    machine: the type of its instances, where it had any. billed: seconds for which one node was paid. cost: in
    `currency`; None where no price is known, and `basis` says why, or by which prices it was counted. timings: seconds
    of each phase.
    """

    job_id: str
    machine: str | None = None
    spot: bool | None = None
    billed: float | None = None
    cost: float | None = None
    currency: str | None = None
    basis: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """In what a shadow differed from its job: a sentence each; none means in nothing."""

    job_id: str
    shadow_id: str
    differences: Sequence[str]


Row: TypeAlias = SubmissionRow | RehearsalRow | OutcomeRow | UsageRow | ComparisonRow
