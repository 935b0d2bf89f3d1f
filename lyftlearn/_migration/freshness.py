"""What has been shown of each model, and whether it still holds.

A rehearsal, a shadow, a job on the new side and a comparison of both backends were made at a time, with an image, a
source and a version of lyftlearn. They show something of today's jobs while they are young enough and were made with
what the newest job of their kind was made with; else they are stale. An image is known by its name, and by its digest
where the name has one. The autopilot decides by this, and `migration status` shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration import parity_runs
from lyftlearn._migration.blockers import standing_problems
from lyftlearn._migration.ladder import MadeWith
from lyftlearn._migration.results import EvidenceOfKind
from lyftlearn._migration.rungs import UNKNOWN, Subject
from lyftlearn._migration.showings import showings
from lyftlearn.history.makings import known_makings
from lyftlearn.history.queries import sum_if
from lyftlearn.history.tables import Moment, details, jobs
from lyftlearn.rollout import KILL_SWITCH, PARITY

if TYPE_CHECKING:
    from lyftlearn._migration.parity_runs import ParityRun
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

REHEARSAL, SHADOW, LIVE_JOB, PARITY_RUN, VERDICT = KINDS = ("rehearsal", "shadow", "live job", "parity run", "verdict")
_OF_JOBS = KINDS[:3]
_Row: TypeAlias = Mapping[str, Any]
_MADE_WITH = ("image", "source", "version")
_NEWEST = 10  # jobs of a model whose labels are looked at
_CLOCKS = timedelta(hours=1)
"""By how much clocks of different machines may differ. What is from later says nothing of today."""


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What is known of one model. kinds: each of `KINDS`.

    newest: of the newest job. stage: of the newest one that a flag or a setting decided about. made_with: what
    `[autopilot] stale_with` names, of the newest job of each kind.
    """

    newest: datetime
    stage: str | None
    made_with: MadeWith
    kinds: Mapping[str, EvidenceOfKind]
    obstacles: Sequence[str] = ()


class _Piece(NamedTuple):
    """So many of one kind that were made in one way. because: why they are stale. order: of what is said of them."""

    kind: str
    number: int
    at: datetime
    made_with: MadeWith
    because: tuple[str, ...]
    order: tuple[str, ...] = ()


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

    def days(self, day: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
        """Return what days have in common of which all jobs, or none, are too old, and none is from tomorrow."""
        first, today = f"{self.since:%Y-%m-%d}", f"{self.now:%Y-%m-%d}"
        return sa.case((day < first, "old"), ((day > first) & (day < today), "young"), else_=day)

    def is_ahead(self, at: datetime) -> bool:
        """Return whether a moment has not come yet."""
        return at > self.now + _CLOCKS


def freshness(history: History, config: Config, now: datetime) -> dict[Subject, Freshness]:
    """Return what is known of each model that has jobs on either side."""
    by_model: dict[Subject, list[_Row]] = defaultdict(list)
    standard = _Standard(list(config.autopilot["stale_with"]), now - config.autopilot["max_age"], now)
    for query in (_query(of, config, standard) for of in showings(history.dialect)):
        for row in history.select(query):
            by_model[row["repository"], row["model"]].append(row)
    standing = standing_problems(history, str(config.migration_to), standard.since)
    runs = parity_runs.between(history, config.migration_from, str(config.migration_to))
    return {subject: _of_model(rows, runs, standard, standing.get(subject, ())) for subject, rows in by_model.items()}


def _query(of: sa.Subquery, config: Config, standard: _Standard) -> sa.Select[*tuple[Any, ...]]:
    """Return the query that counts jobs by what they were made with, and says when the newest of each kind was."""
    old, new = config.migration_from, str(config.migration_to)
    made = known_makings()
    rehearsed = (of.c.rehearsed_on == new) & ~of.c.fell_back
    live = (of.c.backend == new) & of.c.status.in_(("succeeded", "failed"))
    of_kind = {
        REHEARSAL: (rehearsed, of.c.jobs, of.c.newest),
        SHADOW: (of.c.compared > 0, of.c.compared, of.c.compared_at),
        LIVE_JOB: (live, of.c.jobs, of.c.newest),
    }
    is_pulled = of.c.source == sa.literal(KILL_SWITCH, literal_execute=True)  # in both places the same to a server
    stage = sa.case((is_pulled, sa.null()), else_=of.c.stage).label("stage")
    keys = [of.c.repository, of.c.model, of.c.kind, stage, *(made.c[name] for name in _MADE_WITH)]
    query = sa.select(
        sa.func.coalesce(of.c.repository, UNKNOWN).label("repository"),
        *(key.label(key.name) for key in keys[1:]),
        *(column for kind in of_kind.items() for column in _columns_of(*kind, of.c.day)),
        sa.func.max(of.c.newest, type_=Moment).label("newest"),
    ).select_from(of.outerjoin(made, made.c.making == of.c.making))
    ours = of.c.backend.in_((old, new)) & ~of.c.is_shadow & (sa.func.coalesce(of.c.source, "") != PARITY)
    return query.where(ours).group_by(*keys, standard.days(of.c.day)).having(sa.func.sum(of.c.jobs + of.c.compared) > 0)


def _columns_of(
    name: str, told: tuple[sa.ColumnElement[Any], ...], day: sa.ColumnElement[str]
) -> list[sa.ColumnElement[Any]]:
    """Return how much there is of one kind of evidence, when the newest of it was made, and on which day the first.

    told: which rows are of that kind, how much they count, and when the newest of these was made.
    """
    which, count, at = told
    return [
        sum_if(which, count).label(name),
        sa.func.max(sa.case((which, at)), type_=Moment).label(f"newest {name}"),
        sa.func.min(sa.case((which, day))).label(f"first {name}"),
    ]


def _of_model(
    rows: Sequence[_Row], runs: Sequence[ParityRun], standard: _Standard, obstacles: Sequence[str]
) -> Freshness:
    counting = [row for row in rows if not standard.is_ahead(row["newest"])] or rows
    in_order = sorted(counting, key=lambda row: (row["newest"], _knowledge(_made_with(row))))
    newest, today = in_order[-1], {row["kind"]: _made_with(row) for row in in_order}
    found = (piece for row in rows for piece in _pieces(row, today, standard))
    pieces = sorted(found, key=lambda piece: piece.order)
    pieces += _of_runs(runs, _made_with(newest), standard)
    return Freshness(
        newest=newest["newest"],
        stage=next((str(row["stage"]) for row in reversed(in_order) if row["stage"]), None),
        made_with=together([{name: of[name] for name in standard.known} for of in today.values()]),
        kinds=_kinds(pieces),
        obstacles=obstacles,
    )


def _kinds(pieces: Sequence[_Piece]) -> dict[str, EvidenceOfKind]:
    judged = max((one for one in pieces if one.kind in (SHADOW, LIVE_JOB)), key=lambda one: one.at, default=None)
    every = [*pieces, *([judged._replace(kind=VERDICT, number=1)] if judged else [])]
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
        order = (row["kind"], row["stage"] or "", row[f"first {kind}"], *(made_with[name] or "" for name in _MADE_WITH))
        yield _Piece(kind, int(row[kind]), at, made_with, because, order)


def _of_runs(runs: Sequence[ParityRun], today: MadeWith, standard: _Standard) -> Iterator[_Piece]:
    """Yield comparisons of both backends; one that brought no code of a user's holds for any."""
    for run in runs:
        made_with = {"image": run.image, "source": run.source, "version": run.version}
        because = standard.why_stale(run.at, {**made_with, "source": run.source or today["source"]}, today)
        because += () if run.holds else ("parity did not hold",)
        because += ("only some subjects were compared",) if run.partial else ()
        yield _Piece(kind=PARITY_RUN, number=1, at=run.at, made_with=made_with, because=because)


def _summary(kind: str, pieces: Sequence[_Piece]) -> EvidenceOfKind:
    newest = max(pieces, key=lambda one: (one.at, _knowledge(one.made_with)), default=None)
    made_with = newest.made_with if newest else {}
    return EvidenceOfKind(
        kind=kind,
        fresh=sum(one.number for one in pieces if not one.because),
        stale=sum(one.number for one in pieces if one.because),
        stale_because=tuple(dict.fromkeys(because for one in pieces for because in one.because)),
        newest=newest.at if newest else None,
        image=made_with.get("image"),
        source=made_with.get("source"),
        version=made_with.get("version"),
    )


def _made_with(row: _Row) -> MadeWith:
    return {name: row[name] for name in _MADE_WITH}


def _knowledge(made_with: MadeWith) -> int:
    """Return how much is known. Of a job of which more was told later, the tallies may have both as the newest."""
    return sum(value is not None for value in made_with.values())


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):g} days"


def find_labelled(history: History, config: Config, models: Iterable[Subject]) -> set[Subject]:
    """Return the models whose newest jobs have a label that declares them safe to run twice."""
    shadow = config.shadow
    if not (shadow.labels and shadow.share > 0 and shadow.at_most > 0):
        return set()
    return {of for of in models if any(shadow.labels.items() & has.items() for has in _newest_labels(history, of))}


def _newest_labels(history: History, of: Subject) -> list[Mapping[str, str]]:
    repository = jobs.c.repository.is_(None) if of[0] == UNKNOWN else jobs.c.repository == of[0]
    query = sa.select(details.c.labels).join(jobs, jobs.c.job_id == details.c.job_id)
    query = query.where(repository, jobs.c.model == of[1], jobs.c.shadow_of.is_(None))
    return [row["labels"] or {} for row in history.select(query.order_by(jobs.c.at.desc()).limit(_NEWEST))]


def is_doubled(config: Config, model: str, freshness: Freshness) -> bool:
    """Return whether jobs of a model have shadows: it is declared by its name, or it has had some."""
    shadow = config.shadow
    declared = model in shadow.models and shadow.share > 0 and shadow.at_most > 0
    shadows = freshness.kinds[SHADOW]
    return declared or bool(shadows.fresh + shadows.stale)
