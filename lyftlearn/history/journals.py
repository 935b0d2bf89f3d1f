"""Journals of version 1.0, which knew jobs of a migration alone: what they hold becomes a part of the history.

Clients of version 1.0 may go on writing to them. So a journal is carried over again and again, each time from a day
before the newest job that was carried last time: clocks differ, and a row is carried twice without harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn.history import schema
from lyftlearn.history.problems import digest_of
from lyftlearn.history.rows import ComparisonRow, OutcomeRow, RehearsalRow, Row, SubmissionRow
from lyftlearn.history.tables import Moment, carried, jobs

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_OVERLAP = timedelta(days=1)
_AT_ONCE = 2000

_old = sa.MetaData()
_submissions = sa.Table(
    "submissions",
    _old,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("at", Moment),
    *(sa.Column(name, sa.Text) for name in ("repository", "model", "kind", "stage", "source", "backend", "shadow_of")),
    sa.Column("fell_back", sa.Boolean),
)
_rehearsals = sa.Table(
    "rehearsals",
    _old,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("backend", sa.Text),
    sa.Column("faults", sa.JSON),
)
_outcomes = sa.Table(
    "outcomes",
    _old,
    sa.Column("job_id", sa.String(64), primary_key=True),
    *(sa.Column(name, sa.Text) for name in ("status", "reason")),
    sa.Column("exit_code", sa.Integer),
    *(sa.Column(name, Moment) for name in ("created_at", "started_at", "finished_at")),
)
_comparisons = sa.Table(
    "comparisons",
    _old,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("shadow_id", sa.Text),
    sa.Column("differences", sa.JSON),
)


def carry_over(history: History, config: Config) -> None:
    """Bring what old journals of this configuration hold into the history. Raises what a database raises."""
    for url in dict.fromkeys((config.journal_url, config.file_url("journal.sqlite"))):
        if url == history.url or _is_there(url):
            _carry(url, history)


def _is_there(url: str) -> bool:
    """Whether a journal may be there. A file that is not must not be made by looking."""
    parsed = schema.engine_url(url)
    is_plain_file = parsed.get_backend_name() == "sqlite" and parsed.database and not parsed.query
    return not is_plain_file or Path(str(parsed.database)).is_file()


def _carry(url: str, history: History) -> None:
    engine = sa.create_engine(schema.engine_url(url), poolclass=sa.NullPool, hide_parameters=True)
    name = digest_of(url)
    with engine.connect() as old:
        if not sa.inspect(old).has_table(_submissions.name):
            return
        newest = old.scalar(sa.select(sa.func.max(_submissions.c.at, type_=Moment)))
    until = _until(history, name)
    for page in _pages(engine, None if until is None else until - _OVERLAP):
        history.record(*(row for entry in page for row in _rows_of(entry)))
    _carry_ends(engine, history)
    if newest is not None and newest != until:
        _remember(history, name, newest)


def _until(history: History, name: str) -> datetime | None:
    found = history.select(sa.select(carried.c.until).where(carried.c.journal == name))
    return found[0]["until"] if found else None


def _remember(history: History, name: str, until: datetime) -> None:
    with history.connection() as connection:
        connection.execute(carried.delete().where(carried.c.journal == name))
        connection.execute(carried.insert().values(journal=name, until=until))


def _pages(engine: sa.Engine, since: datetime | None) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield what is there, a page at a time: whoever reads a SQLite file keeps others from writing, itself too."""
    joined = _submissions.outerjoin(_rehearsals, _rehearsals.c.job_id == _submissions.c.job_id)
    joined = joined.outerjoin(_outcomes, _outcomes.c.job_id == _submissions.c.job_id)
    joined = joined.outerjoin(_comparisons, _comparisons.c.job_id == _submissions.c.job_id)
    rehearsed = (_rehearsals.c.backend.label("rehearsed_on"), _rehearsals.c.faults)
    told = (column for column in _outcomes.c if column.name != "job_id")
    compared = (_comparisons.c.shadow_id, _comparisons.c.differences)
    query = sa.select(_submissions, *rehearsed, *told, *compared).select_from(joined)
    query = query.order_by(_submissions.c.job_id).limit(_AT_ONCE)
    if since is not None:
        query = query.where(_submissions.c.at >= since)
    page = _fetch(engine, query)
    while page:
        yield page
        page = _fetch(engine, query.where(_submissions.c.job_id > page[-1]["job_id"]))


def _fetch(engine: sa.Engine, query: sa.Select[*tuple[Any, ...]]) -> Sequence[Mapping[str, Any]]:
    with engine.connect() as old:
        return [dict(row) for row in old.execute(query).mappings()]


def _rows_of(row: Mapping[str, Any]) -> Iterator[Row]:
    yield SubmissionRow(**{name: row[name] for name in _submissions.c.keys()})  # noqa: SIM118 - a collection of columns
    if row["rehearsed_on"] is not None:
        yield RehearsalRow(job_id=row["job_id"], backend=row["rehearsed_on"], faults=row["faults"])
    if row["status"] is not None:
        yield OutcomeRow(**{name: row[name] for name in _outcomes.c.keys()})  # noqa: SIM118 - as above
    if row["shadow_id"] is not None:
        yield ComparisonRow(job_id=row["job_id"], shadow_id=row["shadow_id"], differences=row["differences"])


def _carry_ends(engine: sa.Engine, history: History) -> None:
    """Bring the ends of jobs that were carried before they ended."""
    is_open = [row["job_id"] for row in history.select(sa.select(jobs.c.job_id).where(jobs.c.status.is_(None)))]
    for start in range(0, len(is_open), _AT_ONCE):
        asked = sa.select(_outcomes).where(_outcomes.c.job_id.in_(is_open[start : start + _AT_ONCE]))
        history.record(*(OutcomeRow(**row) for row in _fetch(engine, asked)))
