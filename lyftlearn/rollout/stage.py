"""The stages of a migration, in order."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """How far a job has moved from the old backend to the new one. Stages compare: OFF is the lowest.

    OFF: runs on the old one. REHEARSE: also planned for the new one, and what stands against it recorded; nothing is
    sent. SHADOW: a second, marked job runs on the new one, outputs apart, result never returned; only for jobs that are
    declared safe to run twice. LIVE: runs on the new one, and on the old one only where the new one certainly did not
    accept it. COMPLETE: runs on the new one.
    """

    OFF = "off"
    REHEARSE = "rehearse"
    SHADOW = "shadow"
    LIVE = "live"
    COMPLETE = "complete"

    def __lt__(self, other: str) -> bool:
        return _RANK[self] < _RANK[Stage(other)]

    def __ge__(self, other: str) -> bool:
        return not self < other

    def __gt__(self, other: str) -> bool:
        return Stage(other) < self

    def __le__(self, other: str) -> bool:
        return not self > other


_RANK = {stage: rank for rank, stage in enumerate(Stage)}
