"""What has been shown of each model, and whether it still holds.

A rehearsal, a shadow and a job on the new side were made at a time, with an image, a source and a version of lyftlearn.
They show something of today's jobs while they are young enough and were made with what the newest job of their kind was
made with; else they are stale. An image is known by its name, and by its digest where the name has one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.blockers import blockers
from lyftlearn._migration.ladder import MadeWith
from lyftlearn._migration.rungs import UNKNOWN, Subject
from lyftlearn.history.queries import count_if
from lyftlearn.history.tables import Moment, comparisons, details, jobs

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

KINDS: tuple[str, ...] = ("rehearsal", "shadow", "live job")
_Row: TypeAlias = Mapping[str, Any]
_COLUMNS = {"image": details.c.image, "source": details.c.source, "version": details.c.version}


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What is known of one model. fresh, stale: how many of each of `KINDS`; newest: when the newest of each was made.

    stage: of the newest job. made_with: of the newest job.
    """

    stage: str | None
    made_with: MadeWith
    fresh: Mapping[str, int]
    stale: Mapping[str, int]
    newest: Mapping[str, datetime]
    obstacles: Sequence[str] = ()


def freshness(history: History, config: Config, now: datetime) -> dict[Subject, Freshness]:
    """Return what is known of each model that has jobs on either side."""
    known = list(config.autopilot["stale_with"])
    by_model: dict[Subject, list[_Row]] = defaultdict(list)
    for row in history.select(_query(config, known)):
        by_model[row["repository"], row["model"]].append(row)
    since = now - config.autopilot["max_age"]
    standing = _standing_problems(history, config, since)
    return {subject: _of_model(rows, known, since, standing.get(subject, ())) for subject, rows in by_model.items()}


def _query(config: Config, known: Iterable[str]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query that counts jobs by what they were made with, and says when the newest of each kind was."""
    old, new = config.migration_from, str(config.migration_to)
    made_with = [_COLUMNS[name].label(name) for name in known]
    of_kind = {
        "rehearsal": (jobs.c.rehearsed_on == new) & ~jobs.c.fell_back,
        "shadow": comparisons.c.job_id.is_not(None),
        "live job": (jobs.c.backend == new) & jobs.c.status.in_(("succeeded", "failed")),
    }
    keys = [sa.func.coalesce(jobs.c.repository, UNKNOWN).label("repository"), jobs.c.model, jobs.c.kind, jobs.c.stage]
    day = sa.cast(sa.func.substr(sa.cast(jobs.c.at, sa.Text), 1, 10), sa.Text).label("day")
    counts = [count_if(condition).label(name) for name, condition in of_kind.items()]
    newest = [
        sa.func.max(sa.case((condition, jobs.c.at)), type_=Moment).label(f"newest {name}")
        for name, condition in of_kind.items()
    ]
    query = sa.select(*keys, day, *made_with, *counts, *newest, sa.func.max(jobs.c.at, type_=Moment).label("newest"))
    query = query.outerjoin_from(jobs, details, details.c.job_id == jobs.c.job_id)
    query = query.outerjoin(comparisons, comparisons.c.job_id == jobs.c.job_id)
    ours = jobs.c.backend.in_((old, new)) & jobs.c.shadow_of.is_(None)
    return query.where(ours).group_by(
        jobs.c.repository, jobs.c.model, jobs.c.kind, jobs.c.stage, day, *(_COLUMNS[name] for name in known)
    )


def _of_model(rows: Sequence[_Row], known: Sequence[str], since: datetime, obstacles: Sequence[str]) -> Freshness:
    newest = max(rows, key=lambda row: row["newest"])
    today = {row["kind"]: _made_with(row, known) for row in sorted(rows, key=lambda row: row["newest"])}
    fresh, stale, last = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0), dict[str, datetime]()
    for row in rows:
        alike = _made_with(row, known) == today[row["kind"]]
        for kind in (kind for kind in KINDS if row[kind]):
            side = fresh if alike and row[f"newest {kind}"] >= since else stale
            side[kind] += row[kind]
            last[kind] = max(row[f"newest {kind}"], last.get(kind, row[f"newest {kind}"]))
    stage = newest["stage"] and str(newest["stage"])
    return Freshness(
        stage=stage, made_with=_made_with(newest, known), fresh=fresh, stale=stale, newest=last, obstacles=obstacles
    )


def _made_with(row: _Row, known: Sequence[str]) -> MadeWith:
    return {name: row[name] for name in known}


def _standing_problems(history: History, config: Config, since: datetime) -> dict[Subject, list[str]]:
    """Return what the newest rehearsal of each model named, most important first."""
    found = blockers(history, str(config.migration_to), since, fell_back=False)
    problems: dict[Subject, list[str]] = defaultdict(list)
    for row in found.rows:
        if row["last"] == found.newest.get((row["repository"], row["model"])):
            problems[row["repository"], row["model"]].append(": ".join(found.examples[row["kind_id"]]))
    return problems


def is_doubled(config: Config, subject: Subject, freshness: Freshness) -> bool:
    """Return whether jobs of a model have shadows: it is declared, or it has had some."""
    shadow = config.shadow
    declared = subject[1] in shadow.models and shadow.share > 0 and shadow.at_most > 0
    return declared or bool(freshness.fresh["shadow"] + freshness.stale["shadow"])
