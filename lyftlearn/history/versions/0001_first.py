"""The tables of the first history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _make_carried() -> None:
    op.create_table(
        "carried",
        sa.Column("journal", sa.String(length=16), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("journal"),
    )


def _make_comparisons() -> None:
    op.create_table(
        "comparisons",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("shadow_id", sa.String(length=64), nullable=False),
        sa.Column("differences", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )


def _make_details() -> None:
    op.create_table(
        "details",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("resources", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("outputs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("command", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("spot", sa.Boolean(), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("timings", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("team", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("backend", sa.String(length=63), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("fell_back", sa.Boolean(), nullable=False),
        sa.Column("shadow_of", sa.String(length=64), nullable=True),
        sa.Column("nodes", sa.Integer(), nullable=True),
        sa.Column("rehearsed_on", sa.String(length=63), nullable=True),
        sa.Column("obstacles", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("start_up", sa.Float(), nullable=True),
        sa.Column("duration", sa.Float(), nullable=True),
        sa.Column("machine", sa.Text(), nullable=True),
        sa.Column("billed", sa.Float(), nullable=True),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )


_TIMED = ("at", "shadow_of")
_MODEL = ("backend", "repository", "model")
_COUNTED = ("repository", "model", "backend", "shadow_of", "status", "reason", "fell_back", "stage", "kind")
_INDEXES: dict[str, tuple[str, ...]] = {
    "ix_jobs_at": ("at", "job_id"),
    "ix_jobs_counts": (*_COUNTED, "rehearsed_on", "obstacles", "at"),
    "ix_jobs_duration": ("backend", "status", "duration", *_TIMED),
    "ix_jobs_model_duration": (*_MODEL, "status", "duration", *_TIMED),
    "ix_jobs_model_start_up": (*_MODEL, "start_up", *_TIMED),
    "ix_jobs_start_up": ("backend", "start_up", *_TIMED),
}
_PARTIAL_INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ix_jobs_open": ("status IS NULL", ("at", "job_id")),
    "ix_jobs_shadows": ("shadow_of IS NOT NULL", ("shadow_of", "job_id")),
    "ix_jobs_uncounted": ("cost IS NULL", ("at", "job_id")),
}


def _index_jobs() -> None:
    for name, columns in _INDEXES.items():
        op.create_index(name, "jobs", list(columns), unique=False)
    for name, (condition, columns) in _PARTIAL_INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "jobs", list(columns), unique=False, sqlite_where=where, postgresql_where=where)


def _make_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _make_problems() -> None:
    op.create_table(
        "problems",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("kind_id", sa.String(length=16), nullable=False),
        sa.Column("text_id", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.String(length=63), nullable=False),
        sa.Column("fell_back", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number"),
    )


def _index_problems() -> None:
    op.create_index(
        "ix_problems_kinds",
        "problems",
        ["backend", "fell_back", "kind_id", "repository", "model", "at", "text_id"],
        unique=False,
    )


def _make_shadow_slots() -> None:
    op.create_table(
        "shadow_slots",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("slot"),
    )


def upgrade() -> None:
    """Make the tables where there are none."""
    _make_carried()
    _make_comparisons()
    _make_details()
    _make_jobs()
    _index_jobs()
    _make_leases()
    _make_problems()
    _index_problems()
    _make_shadow_slots()
