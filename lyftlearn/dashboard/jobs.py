"""Jobs of the history: a page of them at a time, and all that is known of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn.history.tables import comparisons, details, jobs, problems

if TYPE_CHECKING:
    from lyftlearn.history.store import History

ON_A_PAGE = 50
FILTERS = ("model", "kind", "status", "backend", "team", "owner", "repository")
OPEN = "open"
"""In place of a status: no end is known."""
_LAST = "\U0010ffff"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which jobs. where: values of columns. text: how a model or an id begins. teams: whose; None means all.

    after: the time and the id of the last job of the page before.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    teams: Sequence[str] | None = None
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True)
class Found:
    """A page of jobs, the newest first. more: whether there are others after them."""

    jobs: Sequence[Mapping[str, Any]]
    more: bool


def find(history: History, search: Search) -> Found:
    """Return a page of the jobs that match. Shadows stand with the job that they double, and not here."""
    query = sa.select(jobs, details.c.message).join(details, details.c.job_id == jobs.c.job_id, isouter=True)
    query = query.where(jobs.c.shadow_of.is_(None), *_conditions(search))
    query = query.order_by(jobs.c.at.desc(), jobs.c.job_id.desc()).limit(ON_A_PAGE + 1)
    rows = history.select(query)
    return Found(rows[:ON_A_PAGE], len(rows) > ON_A_PAGE)


def _conditions(search: Search) -> list[sa.ColumnElement[bool]]:
    found = [_equals(name, value) for name, value in search.where.items()]
    if search.text:
        found.append(_begins(jobs.c.model, search.text) | _begins(jobs.c.job_id, search.text))
    if search.teams is not None:
        found.append(jobs.c.team.in_(search.teams))
    if search.after is not None:
        at, job_id = search.after
        found.append((jobs.c.at < at) | ((jobs.c.at == at) & (jobs.c.job_id < job_id)))
        found.append(jobs.c.at <= at)  # which an index finds
    return found


def _equals(name: str, value: str) -> sa.ColumnElement[bool]:
    if name == "status" and value == OPEN:
        return jobs.c.status.is_(None)
    return jobs.c[name] == value


def _begins(column: sa.ColumnElement[str], text: str) -> sa.ColumnElement[bool]:
    return (column >= text) & (column < text + _LAST)


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that the history knows of a job. obstacles: what stood against it on the other backend, path and problem.

    differences: in what its shadow, or the job that it doubles, differs; None if nobody compared them.
    """

    job: Mapping[str, Any]
    obstacles: Sequence[tuple[str, str]]
    shadows: Sequence[str]
    differences: Sequence[str] | None


def read(history: History, job_id: str, teams: Sequence[str] | None) -> Known | None:
    """Return what is known of a job, None if it is not there or not this viewer's to see."""
    query = sa.select(jobs, *(column for column in details.c if column.name != "job_id"))
    query = query.join(details, details.c.job_id == jobs.c.job_id, isouter=True).where(jobs.c.job_id == job_id)
    rows = history.select(query)
    if not rows or (teams is not None and rows[0]["team"] not in teams):
        return None
    first = rows[0]["shadow_of"] or job_id
    compared = history.select(sa.select(comparisons.c.differences).where(comparisons.c.job_id == first))
    obstacles = sa.select(problems.c.path, problems.c.problem).where(problems.c.job_id == job_id)
    return Known(
        job=rows[0],
        obstacles=[(row["path"], row["problem"]) for row in history.select(obstacles.order_by(problems.c.number))],
        shadows=[row["job_id"] for row in history.select(sa.select(jobs.c.job_id).where(jobs.c.shadow_of == job_id))],
        differences=compared[0]["differences"] if compared else None,
    )
