"""Where a job's time went: how long it waited, pulled its image, started, fetched, ran and uploaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from lyftlearn.events import JobEvent


class PhaseName(StrEnum):
    """What a job does with its time. Platforms that fetch inputs before the container runs have another order."""

    WAITING = "waiting"  # for a machine
    PULLING = "pulling"  # the image
    STARTING = "starting"  # the container
    FETCHING = "fetching"  # inputs, source, secrets
    RUNNING = "running"  # the user's command
    UPLOADING = "uploading"  # model and outputs


@dataclass(frozen=True)
class Phase:
    """One phase. finished_at: None while it lasts."""

    name: PhaseName
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Timings:
    """The phases of a job in their order, as far as its platform tells them apart.

    The time of a phase that the platform does not tell belongs to the phase after it. warm: whether the job took over
    the machine of an earlier one; None if the platform does not tell.
    """

    phases: tuple[Phase, ...]
    warm: bool | None = None


def seconds_by_phase(timings: Timings, now: datetime) -> dict[str, float]:
    """Return the length of each phase by its name; a phase that came twice is told once, with its whole length."""
    seconds: dict[str, float] = {}
    for phase in timings.phases:
        length = ((phase.finished_at or now) - phase.started_at).total_seconds()
        seconds[str(phase.name)] = seconds.get(phase.name, 0.0) + max(0.0, length)
    return seconds


def consecutive_phases(
    accepted_at: datetime,
    ends: Iterable[tuple[PhaseName, datetime | None]],
    last: PhaseName,
    finished_at: datetime | None,
) -> tuple[Phase, ...]:
    """Return phases that follow each other from `accepted_at` on.

    ends: when each ended, None for one that is not told. last: the one that lasts, or that ended with the job. Clocks
    differ and some platforms count whole seconds, so a phase may end no earlier than the one before it.
    """
    phases, start = [], accepted_at
    for name, end in ends:
        if end is not None:
            phases.append(Phase(name, start, max(start, end)))
            start = max(start, end)
    return (*phases, Phase(last, start, finished_at and max(start, finished_at)))


_CURRENT = {JobStatus.PENDING: PhaseName.WAITING, JobStatus.STARTING: PhaseName.STARTING}


def timings_of(event: JobEvent) -> Timings:
    """Return what a job's newest observation alone tells: how long it waited, and how long it ran."""
    finished_at = event.at if event.status.finished else None
    current = PhaseName.RUNNING if event.started_at else _CURRENT.get(event.status, PhaseName.WAITING)
    waited = [(PhaseName.WAITING, event.started_at)]
    return Timings(consecutive_phases(event.created_at or event.at, waited, current, finished_at))
