"""Which features a job uses; comparisons of backends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add a table, and a column that may be empty."""
    op.add_column("details", sa.Column("features", sa.Text(), nullable=True))
    op.create_table(
        "parity_runs",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("backends", sa.JSON(), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("subjects", sa.JSON(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_parity_runs_at", "parity_runs", ["at"], unique=False)
