"""What has been shown of each model, and whether it still holds.

A rehearsal, a shadow, a job on the new side and a comparison of both backends were made at a time, with an image, a
source and a version of lyftlearn. They show something of today's jobs while they are young enough and were made with
what the newest job of their kind was made with; else they are stale. An image is known by its name, and by its digest
where the name has one. The autopilot decides by this, and `migration status` shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import parity_runs
from lyftlearn._migration.blockers import blockers
from lyftlearn._migration.ladder import MadeWith
from lyftlearn._migration.results import EvidenceOfKind
from lyftlearn._migration.rungs import UNKNOWN, Subject
from lyftlearn.history.queries import count_if
from lyftlearn.history.tables import Moment, comparisons, details, jobs
from lyftlearn.rollout import PARITY

if TYPE_CHECKING:
    from lyftlearn._migration.parity_runs import ParityRun
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

REHEARSAL, SHADOW, LIVE_JOB, PARITY_RUN, VERDICT = KINDS = ("rehearsal", "shadow", "live job", "parity run", "verdict")
_OF_JOBS = KINDS[:3]
_Row: TypeAlias = Mapping[str, Any]
_COLUMNS = {"image": details.c.image, "source": details.c.source, "version": details.c.version}
_CLOCKS = timedelta(hours=1)
"""By how much clocks of different machines may differ. What is from later says nothing of today."""


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What is known of one model. kinds: each of `KINDS`.

    newest, stage: of the newest job. made_with: what `[autopilot] stale_with` names, of the newest job of each kind.
    """

    newest: datetime
    stage: str | None
    made_with: MadeWith
    kinds: Mapping[str, EvidenceOfKind]
    obstacles: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """So many of one kind that were made in one way on one day. because: why they are stale."""

    kind: str
    count: int
    at: datetime
    made_with: MadeWith
    because: tuple[str, ...]


@dataclass(frozen=True)
class _Standard:
    """What evidence is held against: known: names of what it must share with today's jobs; since: its age; now."""

    known: Sequence[str]
    since: datetime
    now: datetime

    def why_stale(self, at: datetime, made_with: MadeWith, today: MadeWith) -> tuple[str, ...]:
        """Return why evidence does not hold; nothing if it does."""
        others = [f"made with another {name}" for name in self.known if made_with[name] != today[name]]
        old = [f"older than {_days(self.now - self.since)}"] if at < self.since else []
        ahead = ["from a clock that is ahead"] if self.is_ahead(at) else []
        return (*others, *old, *ahead)

    def is_ahead(self, at: datetime) -> bool:
        """Return whether a moment has not come yet."""
        return at > self.now + _CLOCKS


def freshness(history: History, config: Config, now: datetime) -> dict[Subject, Freshness]:
    """Return what is known of each model that has jobs on either side."""
    by_model: dict[Subject, list[_Row]] = defaultdict(list)
    for row in history.select(_query(config)):
        by_model[row["repository"], row["model"]].append(row)
    standard = _Standard(list(config.autopilot["stale_with"]), now - config.autopilot["max_age"], now)
    standing = _standing_problems(history, config, standard.since)
    runs = parity_runs.between(history, config.migration_from, str(config.migration_to))
    return {subject: _of_model(rows, runs, standard, standing.get(subject, ())) for subject, rows in by_model.items()}


def _query(config: Config) -> sa.Select[*tuple[Any, ...]]:
    """Return the query that counts jobs by what they were made with, and says when the newest of each kind was."""
    old, new = config.migration_from, str(config.migration_to)
    of_kind = {
        REHEARSAL: (jobs.c.rehearsed_on == new) & ~jobs.c.fell_back,
        SHADOW: comparisons.c.job_id.is_not(None),
        LIVE_JOB: (jobs.c.backend == new) & jobs.c.status.in_(("succeeded", "failed")),
    }
    keys = [sa.func.coalesce(jobs.c.repository, UNKNOWN).label("repository"), jobs.c.model, jobs.c.kind, jobs.c.stage]
    made_with = [column.label(name) for name, column in _COLUMNS.items()]
    counts = [count_if(condition).label(name) for name, condition in of_kind.items()]
    newest = [
        sa.func.max(sa.case((condition, jobs.c.at)), type_=Moment).label(f"newest {name}")
        for name, condition in of_kind.items()
    ]
    query = sa.select(*keys, *made_with, *counts, *newest, sa.func.max(jobs.c.at, type_=Moment).label("newest"))
    query = query.outerjoin_from(jobs, details, details.c.job_id == jobs.c.job_id)
    query = query.outerjoin(comparisons, comparisons.c.job_id == jobs.c.job_id)
    ours = jobs.c.backend.in_((old, new)) & jobs.c.shadow_of.is_(None)
    ours &= sa.func.coalesce(jobs.c.source, "") != PARITY
    return query.where(ours).group_by(
        jobs.c.repository, jobs.c.model, jobs.c.kind, jobs.c.stage, jobs.c.day, *_COLUMNS.values()
    )


def _of_model(
    rows: Sequence[_Row], runs: Sequence[ParityRun], standard: _Standard, obstacles: Sequence[str]
) -> Freshness:
    counting = [row for row in rows if not standard.is_ahead(row["newest"])] or rows
    in_order = sorted(counting, key=lambda row: row["newest"])
    newest, today = in_order[-1], {row["kind"]: _made_with(row) for row in in_order}
    pieces = [piece for row in rows for piece in _pieces(row, today, standard)]
    pieces += _of_runs(runs, _made_with(newest), standard)
    return Freshness(
        newest=newest["newest"],
        stage=newest["stage"] and str(newest["stage"]),
        made_with=together([{name: of[name] for name in standard.known} for of in today.values()]),
        kinds=_kinds(pieces),
        obstacles=obstacles,
    )


def _kinds(pieces: Sequence[_Piece]) -> dict[str, EvidenceOfKind]:
    judged = max((one for one in pieces if one.kind in (SHADOW, LIVE_JOB)), key=lambda one: one.at, default=None)
    every = [*pieces, *([replace(judged, kind=VERDICT, count=1)] if judged else [])]
    return {kind: _summary(kind, [one for one in every if one.kind == kind]) for kind in KINDS}


def together(tables: Sequence[MadeWith]) -> MadeWith:
    """Return what all of these were made with: it changes when one of them does, whichever of them is the newest."""
    found = {name: sorted({str(of[name]) for of in tables if of[name] is not None}) for of in tables for name in of}
    return {name: ", ".join(values) or None for name, values in found.items()}


def _pieces(row: _Row, today: Mapping[str, MadeWith], standard: _Standard) -> Iterator[_Piece]:
    """Yield what a row counts. today: what the newest job of each kind was made with."""
    made_with = _made_with(row)
    for kind in (kind for kind in _OF_JOBS if row[kind]):
        at = row[f"newest {kind}"]
        because = standard.why_stale(at, made_with, today.get(row["kind"], made_with))
        yield _Piece(kind=kind, count=int(row[kind]), at=at, made_with=made_with, because=because)


def _of_runs(runs: Sequence[ParityRun], today: MadeWith, standard: _Standard) -> Iterator[_Piece]:
    """Yield comparisons of both backends; one that brought no code of a user's holds for any."""
    for run in runs:
        made_with = {"image": run.image, "source": run.source, "version": run.version}
        because = standard.why_stale(run.at, {**made_with, "source": run.source or today["source"]}, today)
        because += () if run.holds else ("parity did not hold",)
        because += ("only some subjects were compared",) if run.partial else ()
        yield _Piece(kind=PARITY_RUN, count=1, at=run.at, made_with=made_with, because=because)


def _summary(kind: str, pieces: Sequence[_Piece]) -> EvidenceOfKind:
    newest = max(pieces, key=lambda one: one.at, default=None)
    made_with = newest.made_with if newest else {}
    return EvidenceOfKind(
        kind=kind,
        fresh=sum(one.count for one in pieces if not one.because),
        stale=sum(one.count for one in pieces if one.because),
        stale_because=tuple(dict.fromkeys(because for one in pieces for because in one.because)),
        newest=newest.at if newest else None,
        image=made_with.get("image"),
        source=made_with.get("source"),
        version=made_with.get("version"),
    )


def _made_with(row: _Row) -> MadeWith:
    return {name: row[name] for name in _COLUMNS}


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):g} days"


def _standing_problems(history: History, config: Config, since: datetime) -> dict[Subject, list[str]]:
    """Return what the newest rehearsal of each model named, most important first."""
    found = blockers(history, str(config.migration_to), since, fell_back=False)
    problems: dict[Subject, list[str]] = defaultdict(list)
    for row in found.rows:
        if row["last"] == found.newest.get((row["repository"], row["model"])):
            problems[row["repository"], row["model"]].append(": ".join(found.examples[row["kind_id"]]))
    return problems


def is_doubled(config: Config, model: str, freshness: Freshness) -> bool:
    """Return whether jobs of a model have shadows: it is declared, or it has had some."""
    shadow = config.shadow
    declared = model in shadow.models and shadow.share > 0 and shadow.at_most > 0
    shadows = freshness.kinds[SHADOW]
    return declared or bool(shadows.fresh + shadows.stale)
