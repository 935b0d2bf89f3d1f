"""What the autopilot does next with one model: a pure function of where it stands, what is shown, the rules, the time.

It is raised one rung at a time, and only on evidence. It is lowered at once, to `rehearse`, when the new side does
worse. Everything else is a hold, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import TypeAlias

from lyftlearn._migration.results import INCONCLUSIVE, NO_JOBS, NOT_WORSE, WORSE
from lyftlearn._migration.rungs import LADDER, Rung, above

SLACK = {Rung.SHADOW: 4.0, Rung.LIVE_10: 4.0, Rung.LIVE_50: 3.0, Rung.LIVE_100: 3.0}
"""By how many times the guard's margins harm is ruled out before a model leaves a rung: few jobs, little certainty.

Certainty is made on `live-50`, where both sides have jobs: with twelve jobs a day of which one in twenty fails, three
times the margins are ruled out within a month, and for twice the margins one model in ten would still wait.
"""
LEAST_LIVE = 3
"""Jobs on the new side, made with what the newest job is made with, before a model is raised from a live rung."""
STOPPED = "the kill switch keeps everything on the old side, or cannot be looked at"
MadeWith: TypeAlias = Mapping[str, str | None]
"""image, source, version: what evidence was made with."""


class Action(StrEnum):
    """What is decided of a model. HOLD changes nothing."""

    RAISE = "raise"
    LOWER = "lower"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a model stands.

    judged_since: jobs that were submitted before say nothing any more. worse_with: what the jobs were made with that
    were worse, while that keeps it down.
    """

    rung: Rung
    since: datetime
    judged_since: datetime | None = None
    worse_with: MadeWith | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is known of a model. Everything counted is fresh: of the configured age, and made with what is used now.

    rehearsed, obstacles: rehearsals, and what the newest of them named. is_doubled: whether its jobs have shadows.
    compared: shadows. live: jobs that ended on the new side. verdict, because, more_jobs: the guard's. stale: what
    there was of each kind of evidence that is not fresh. made_with: of the newest job.
    """

    rehearsed: int = 0
    obstacles: Sequence[str] = ()
    is_doubled: bool = False
    compared: int = 0
    live: int = 0
    verdict: str = NO_JOBS
    because: Sequence[str] = ()
    more_jobs: int | None = None
    stale: Mapping[str, int] = field(default_factory=dict)
    made_with: MadeWith = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the configuration allows. quiet: spans of the day, and days of the week, in which nothing is raised."""

    ceiling: Rung = Rung.COMPLETE
    pause: timedelta = timedelta(days=1)
    rehearsals: int = 3
    most_raises: int = 100
    quiet: Sequence[QuietTime] = ()
    zone: tzinfo | None = None


@dataclass(frozen=True)
class QuietTime:
    """From `start` to `end` on `days` (0 is Monday); over midnight, it belongs to the day on which it starts."""

    start: time
    end: time
    days: frozenset[int] = frozenset(range(7))

    def covers(self, now: datetime) -> bool:
        """Return whether a moment is in it."""
        at, today = now.time(), now.weekday()
        if self.start < self.end:
            return self.start <= at < self.end and today in self.days
        before = (today - 1) % 7 in self.days
        return (at >= self.start and today in self.days) or (at < self.end and before)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is decided: `rung` is where the model stands then. missing: what must be shown before it may go on."""

    action: Action
    rung: Rung
    reason: str
    missing: Sequence[str] = ()


def decide(
    standing: Standing, shown: Shown, rules: Rules, now: datetime, *, raised_today: int = 0, stopped: bool = False
) -> Step:
    """Return the one step. raised_today: models that were raised in the last day. stopped: by the kill switch."""
    if lowering := _lowering(standing.rung, shown, rules):
        return lowering
    following = above(standing.rung)
    if following is None or standing.rung is rules.ceiling:
        end = f"the ceiling is {rules.ceiling}" if following else "the migration is complete"
        return Step(action=Action.HOLD, rung=standing.rung, reason=end)
    missing = what_is_missing(standing, shown, rules)
    wait = missing[0] if missing else _what_to_wait_for(standing, rules, now, raised_today, stopped=stopped)
    if wait:
        return Step(action=Action.HOLD, rung=standing.rung, reason=wait, missing=missing)
    return Step(action=Action.RAISE, rung=following, reason=_what_is_shown(standing.rung, shown))


def _lowering(rung: Rung, shown: Shown, rules: Rules) -> Step | None:
    if shown.verdict == WORSE and rung.height > Rung.REHEARSE.height:
        why = f"the new side is worse: {', '.join(shown.because)}"
        return Step(action=Action.LOWER, rung=min(Rung.REHEARSE, rules.ceiling, key=LADDER.index), reason=why)
    if rung.height > rules.ceiling.height:
        return Step(action=Action.LOWER, rung=rules.ceiling, reason=f"the ceiling is {rules.ceiling}")
    return None


def what_is_missing(standing: Standing, shown: Shown, rules: Rules) -> list[str]:
    """Return what must be shown before a model may go on, a sentence each."""
    rung, missing = standing.rung, list[str]()
    if standing.worse_with is not None and dict(standing.worse_with) == dict(shown.made_with):
        missing.append("the new side was worse with this image, source and lyftlearn: change one of them")
    if rung in (Rung.REHEARSE, Rung.SHADOW):
        missing += _missing_rehearsals(shown, rules)
    if rung in SLACK and (shown.is_doubled or rung is not Rung.SHADOW):
        missing += _missing_verdict(rung, shown)
    return missing


def _missing_rehearsals(shown: Shown, rules: Rules) -> list[str]:
    missing = [f"the newest rehearsal says: {problem}" for problem in shown.obstacles]
    if shown.rehearsed < rules.rehearsals:
        missing.append(_more(rules.rehearsals - shown.rehearsed, "rehearsal", shown))
    return missing


def _missing_verdict(rung: Rung, shown: Shown) -> list[str]:
    kind, count = ("shadow", shown.compared) if rung is Rung.SHADOW else ("live job", shown.live)
    missing = [_more(LEAST_LIVE - count, kind, shown)] if count < LEAST_LIVE else []
    if shown.verdict == WORSE:
        missing.append(f"the new side is worse: {', '.join(shown.because)}")
    elif shown.verdict != NOT_WORSE:
        jobs = f", about {shown.more_jobs} more jobs on the new side" if shown.more_jobs else ""
        about = f" on {', '.join(shown.because)}" if shown.because else ""
        missing.append(f"the guard is {INCONCLUSIVE}{about}{jobs}")
    return missing


def _more(count: int, kind: str, shown: Shown) -> str:
    old = shown.stale.get(kind, 0)
    stale = f"; {old} earlier ones are stale" if old else ""
    return f"{count} more {kind}{'s' if count > 1 else ''} with today's image and source{stale}"


def _what_to_wait_for(
    standing: Standing, rules: Rules, now: datetime, raised_today: int, *, stopped: bool
) -> str | None:
    if stopped:
        return STOPPED
    if standing.since > now:
        return f"the clock was set back: it came to this rung at {standing.since:%Y-%m-%d %H:%M}"
    if standing.rung is not Rung.OFF and now < standing.since + rules.pause:
        return f"it stays on each rung until {standing.since + rules.pause:%Y-%m-%d %H:%M} at least"
    if any(quiet.covers(now.astimezone(rules.zone)) for quiet in rules.quiet):
        return "these are quiet hours"
    if raised_today >= rules.most_raises:
        return f"{raised_today} models were raised within a day, and no more may be"
    return None


def _what_is_shown(rung: Rung, shown: Shown) -> str:
    if rung is Rung.OFF:
        return "a rehearsal sends nothing"
    rehearsed = f"{shown.rehearsed} rehearsals, of which the newest found nothing"
    if rung is Rung.REHEARSE:
        return rehearsed
    if rung is Rung.SHADOW and not shown.is_doubled:
        return f"{rehearsed}; its jobs are not declared safe to run twice, so no shadow shows more"
    seen = f"{shown.compared} shadows compared" if rung is Rung.SHADOW else f"{shown.live} jobs on the new side"
    return f"the guard says not worse within {SLACK[rung]:g} times its margins; {seen}"
