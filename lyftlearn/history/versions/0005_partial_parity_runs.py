"""Whether a comparison of backends looked at a part of its subjects alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a column that may be empty."""
    op.add_column("parity_runs", sa.Column("partial", sa.Boolean(), nullable=True))
