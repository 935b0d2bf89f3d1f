"""An index that leads to what the newest rehearsal of a model named."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add it to an earlier history."""
    columns = ["backend", "fell_back", "model", "at", "repository"]
    op.create_index("ix_problems_newest", "problems", columns, unique=False)
