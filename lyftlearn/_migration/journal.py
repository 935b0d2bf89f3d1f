"""The journal of a migration: what was submitted where, what a rehearsal found, how jobs ended, how shadows compared.

A SQLite file of this user by default; any URL that SQLAlchemy knows, so that a platform shares one PostgreSQL. Many
processes write at once; every write is one transaction on a connection of its own, so that nothing is shared with a
forked child and a thousand notebooks hold no connection open. SQLite keeps its usual journal: a write-ahead log would
need memory that is shared, and homes are often on a network file system.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from lyftlearn._migration.rows import ComparisonRow, OutcomeRow, RehearsalRow, Row, SubmissionRow

if TYPE_CHECKING:
    from lyftlearn.config import Config

_meta = sa.MetaData()
_SECONDS_TO_WAIT_FOR_A_LOCK = 30


class _Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, also in databases without time zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value else None


submissions = sa.Table(
    "submissions",
    _meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("at", _Moment, nullable=False, index=True),
    sa.Column("repository", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(16)),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("backend", sa.String(63), nullable=False),
    sa.Column("fell_back", sa.Boolean, nullable=False),
    sa.Column("shadow_of", sa.String(64)),
)
rehearsals = sa.Table(
    "rehearsals",
    _meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("backend", sa.String(63), nullable=False),
    sa.Column("faults", sa.JSON, nullable=False),
)
outcomes = sa.Table(
    "outcomes",
    _meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("created_at", _Moment),
    sa.Column("started_at", _Moment),
    sa.Column("finished_at", _Moment),
)
comparisons = sa.Table(
    "comparisons",
    _meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("shadow_id", sa.String(64), nullable=False),
    sa.Column("differences", sa.JSON, nullable=False),
)
slots = sa.Table(
    "slots",
    _meta,
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.String(64), nullable=False),
)


_TABLES: Mapping[type, sa.Table] = {
    SubmissionRow: submissions,
    RehearsalRow: rehearsals,
    OutcomeRow: outcomes,
    ComparisonRow: comparisons,
}


class Journal:
    """Records and recalls. Raises what SQLAlchemy raises: whoever must not fail catches it."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(
            url, connect_args=_connect_args(url), poolclass=sa.NullPool, hide_parameters=True
        )
        self._prepared = False

    def record(self, *entries: Row) -> None:
        """Write entries in one transaction. Of two about the same job, the first stays."""
        try:
            self._write(*entries)
        except IntegrityError:  # another process was first with one of them
            for entry in entries:
                with suppress(IntegrityError):
                    self._write(entry)

    def record_in_slot(self, entry: SubmissionRow, at_most: int) -> bool:
        """Record a job together with one of `at_most` slots, which it holds until its outcome is written.

        Return whether a slot was free. It is a primary key, so whatever the number of processes, no more than `at_most`
        jobs ever hold one. Both are written in one transaction, so no slot is held by a job that nobody can ask about;
        one that an earlier version left so is free.
        """
        with self._connection() as connection:
            ended, known = sa.select(outcomes.c.job_id), sa.select(submissions.c.job_id)
            connection.execute(slots.delete().where(slots.c.job_id.in_(ended) | slots.c.job_id.not_in(known)))
            held = {row.slot: row.job_id for row in connection.execute(sa.select(slots))}
        if entry.job_id in held.values():
            return True
        free = [slot for slot in range(at_most) if slot not in held]
        return len(held) < at_most and any(self._write_in_slot(entry, slot) for slot in free)

    def select(self, statement: sa.Select[*tuple[Any, ...]]) -> list[Mapping[str, Any]]:
        """Return the rows of a query over this module's tables."""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _write(self, *entries: Row) -> None:
        with self._connection() as connection:
            for entry in entries:
                table = _TABLES[type(entry)]
                known = connection.scalar(sa.select(sa.func.count()).where(table.c.job_id == entry.job_id))
                if not known:
                    connection.execute(table.insert().values(**asdict(entry)))

    def _write_in_slot(self, entry: SubmissionRow, slot: int) -> bool:
        try:
            with self._connection() as connection:
                connection.execute(slots.insert().values(slot=slot, job_id=entry.job_id))
                connection.execute(submissions.insert().values(**asdict(entry)))
        except IntegrityError:
            return False
        return True

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        if not self._prepared:
            self._create_tables()
            self._prepared = True
        with self._engine.begin() as connection:
            yield connection

    def _create_tables(self) -> None:
        """Create what is missing. Other processes may do the same, and be first with some of it."""
        for _ in _meta.sorted_tables:
            try:
                return _meta.create_all(self._engine)
            except SQLAlchemyError as exc:
                if "exists" not in str(exc):
                    raise
        return _meta.create_all(self._engine)


def _connect_args(url: str) -> dict[str, Any]:
    return {"timeout": _SECONDS_TO_WAIT_FOR_A_LOCK} if url.startswith("sqlite") else {}


def open_journal(config: Config) -> Journal:
    """Return the journal of a configuration. Nothing is connected yet."""
    config.home.mkdir(parents=True, exist_ok=True)
    return Journal(config.journal_url)
