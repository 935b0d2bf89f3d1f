"""Where the time of jobs went that have ended, as their backends tell; without the library that writes it down."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._contract.phases import seconds_by_phase
from lyftlearn.history.rows import UsageRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from lyftlearn._registry import Registry
    from lyftlearn.backend import Backend


def backend_of(job_id: str, registry: Registry) -> Backend:
    """Return the backend that a job's id names. Raises LyftLearnError if it is not installed."""
    return registry.get(registry.named_in(job_id) or "unknown")


def timings_rows(registry: Registry, job_ids: Sequence[str], pool: Executor | None = None) -> list[UsageRow]:
    """Ask where the time of jobs went that have ended. Return what their backends can tell."""
    asked = (pool.map if pool else map)(lambda job_id: _timings(job_id, registry), job_ids)
    return [row for row in asked if row is not None]


def _timings(job_id: str, registry: Registry) -> UsageRow | None:
    with suppress(Exception):  # it is gone, or its backend is away: the history does without
        told = backend_of(job_id, registry).timings(job_id)
        return UsageRow(job_id=job_id, timings=seconds_by_phase(told, datetime.now(UTC)))
    return None
