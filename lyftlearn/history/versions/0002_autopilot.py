"""The autopilot's state, the audit log of flags, and what evidence was made with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _extend() -> None:
    op.add_column("details", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("details", sa.Column("version", sa.String(length=32), nullable=True))
    op.add_column("details", sa.Column("rehearsed_at", sa.DateTime(), nullable=True))
    op.add_column("comparisons", sa.Column("at", sa.DateTime(), nullable=True))


def _make_flag_changes() -> None:
    op.create_table(
        "flag_changes",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("rung_before", sa.String(length=16), nullable=True),
        sa.Column("rung_after", sa.String(length=16), nullable=True),
        sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_flag_changes_at", "flag_changes", ["at", "number"], unique=False)
    op.create_index("ix_flag_changes_state", "flag_changes", ["state"], unique=False)


def _make_autopilot() -> None:
    op.create_table(
        "autopilot",
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("rung", sa.String(length=16), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("judged_since", sa.DateTime(), nullable=True),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("worse_with", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("flags", "repository", "model"),
    )


def upgrade() -> None:
    """Add tables, and columns that may be empty."""
    _extend()
    _make_flag_changes()
    _make_autopilot()
