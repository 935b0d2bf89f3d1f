"""Tallies of each day's jobs, which triggers keep; the day of a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lyftlearn.history.tallies import backfill_statements, fold, trigger_statements

revision = "0003"
down_revision = "0002"

_TEXTS = ("repository", "project", "team", "owner", "model")
_COUNTS = ("jobs", "priced", "started", "timed")
_SUMS = ("start_up", "duration", "seconds", "cost")
_SIZES = ("repository", "model", "kind", "backend", "day", "status", "at", "start_up", "duration", "cost")


def _make_tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("day", sa.String(length=10), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in _TEXTS),
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("backend", sa.String(length=63), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("machine", sa.Text(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("fell_back", sa.Boolean(), nullable=True),
        sa.Column("is_shadow", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        *(sa.Column(name, sa.Float(), nullable=False) for name in _SUMS),
        sa.Column("newest", sa.DateTime(), nullable=True),
        sa.Column("folded", sa.Boolean(), nullable=False),
    )


def upgrade() -> None:
    """Add them to an earlier history, and count what it has."""
    dialect = op.get_bind().dialect.name
    op.add_column("jobs", sa.Column("day", sa.String(length=10), nullable=True))
    _make_tallies()
    for statement in (*trigger_statements(dialect), *backfill_statements(dialect)):
        op.execute(statement)
    fold(op.get_bind(), at_least=1)
    op.create_index("ix_jobs_sizes", "jobs", list(_SIZES), unique=False)
    op.create_index("ix_tallies_day", "tallies", ["day"], unique=False)
    loose = sa.text("NOT folded" if dialect == "postgresql" else "folded = 0")
    op.create_index("ix_tallies_loose", "tallies", ["day"], unique=False, sqlite_where=loose, postgresql_where=loose)
