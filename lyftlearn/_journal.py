"""The journal of a migration: what was submitted where, what a rehearsal found, how jobs ended, how shadows compared.

A SQLite file of this user by default; any URL that SQLAlchemy knows, so that a platform shares one PostgreSQL. Many
processes write at once; every write is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

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
    sa.Column("repository", sa.String(255), nullable=False),
    sa.Column("model", sa.String(63), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(16)),
    sa.Column("source", sa.String(255), nullable=False),
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


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """One job that was accepted. stage: None where the operator's override decided. shadow_of: the job it doubles."""

    job_id: str
    at: datetime
    repository: str
    model: str
    kind: str
    stage: str | None
    source: str
    backend: str
    fell_back: bool
    shadow_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What stood against a job on the other backend: pairs of path and problem; none means that it would have run."""

    job_id: str
    backend: str
    faults: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    job_id: str
    status: str
    reason: str | None
    exit_code: int | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """In what a shadow differed from its job: a sentence each; none means in nothing."""

    job_id: str
    shadow_id: str
    differences: Sequence[str]


_TABLES: Mapping[type, sa.Table] = {
    Submitted: submissions,
    Rehearsed: rehearsals,
    Outcome: outcomes,
    Compared: comparisons,
}


class Journal:
    """Records and recalls. Raises what SQLAlchemy raises: whoever must not fail catches it."""

    def __init__(self, url: str) -> None:
        engine = sa.create_engine(url, connect_args=_connect_args(url))
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _prepare_sqlite)
        self._engine = engine
        self._prepared = False

    def record(self, *entries: Submitted | Rehearsed | Outcome | Compared) -> None:
        """Write entries in one transaction. Of two about the same job, the first stays."""
        with self._connected() as connection:
            for entry in entries:
                table = _TABLES[type(entry)]
                known = connection.scalar(sa.select(sa.func.count()).where(table.c.job_id == entry.job_id))
                if not known:
                    connection.execute(table.insert().values(**asdict(entry)))

    def select(self, statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
        """Return the rows of a query over this module's tables."""
        with self._connected() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        if not self._prepared:
            self._create_tables()
            self._prepared = True
        with self._engine.begin() as connection:
            yield connection

    def _create_tables(self) -> None:
        """Create what is missing; another process may do the same at the same time, and one of the two wins."""
        try:
            _meta.create_all(self._engine)
        except sa.exc.SQLAlchemyError:
            _meta.create_all(self._engine)


def _connect_args(url: str) -> dict[str, Any]:
    return {"timeout": _SECONDS_TO_WAIT_FOR_A_LOCK} if url.startswith("sqlite") else {}


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers and one writer work side by side."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
