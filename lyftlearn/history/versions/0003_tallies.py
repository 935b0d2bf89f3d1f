"""Tallies of each day's jobs, which triggers keep; the day of a job.

What `lyftlearn.history.tallies` makes today may become something else, so this file has the words of its time.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXTS = ("repository", "project", "team", "owner", "model")
_COUNTS = ("jobs", "priced", "started", "timed")
_SUMS = ("start_up", "duration", "seconds", "cost")
_KEYS = (
    *("day", "repository", "project", "team", "owner", "model", "kind", "backend", "stage", "source", "is_shadow"),
    *("machine", "currency", "status", "reason", "fell_back"),
)
_COLUMNS = (*_KEYS, *_COUNTS, *_SUMS, "newest")
_VALUES = {
    "is_shadow": "({of}.shadow_of IS NOT NULL)",
    "jobs": "{sign}",
    "priced": "CASE WHEN {of}.cost IS NULL THEN 0 ELSE {sign} END",
    "started": "CASE WHEN {of}.start_up IS NULL THEN 0 ELSE {sign} END",
    "timed": "CASE WHEN {of}.duration IS NULL THEN 0 ELSE {sign} END",
    "start_up": "{sign} * coalesce({of}.start_up, 0)",
    "duration": "{sign} * coalesce({of}.duration, 0)",
    "seconds": "{sign} * coalesce({of}.duration * coalesce({of}.nodes, 1), 0)",
    "cost": "{sign} * coalesce({of}.cost, 0)",
    "newest": "CASE WHEN {sign} > 0 THEN {of}.at END",
}
_WATCHED = (
    *("repository", "project", "team", "owner", "model", "kind", "backend", "stage", "source"),
    *("machine", "currency", "status", "reason", "fell_back", "at", "shadow_of", "start_up", "duration", "nodes"),
    "cost",
)
_DAYS = {"sqlite": "substr({of}.at, 1, 10)", "postgresql": "to_char({of}.at, 'YYYY-MM-DD')"}
_FALSE = {"sqlite": "0", "postgresql": "false"}
_TRUE = {"sqlite": "1", "postgresql": "true"}
_DIFFERS = {"sqlite": "IS NOT", "postgresql": "IS DISTINCT FROM"}
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


def _value(name: str, dialect: str, of: str, sign: int) -> str:
    text = _DAYS[dialect] if name == "day" else _VALUES.get(name, f"{{of}}.{name}")
    return text.format(of=of, sign=sign)


def _insertion(dialect: str, of: str, sign: int) -> str:
    values = ", ".join(_value(name, dialect, of, sign) for name in _COLUMNS)
    return f"INSERT INTO tallies ({', '.join(_COLUMNS)}, folded) SELECT {values}, {_FALSE[dialect]};"


def _triggers(dialect: str) -> list[str]:
    add, take = _insertion(dialect, "NEW", 1), _insertion(dialect, "OLD", -1)
    changed = " OR ".join(f"OLD.{name} {_DIFFERS[dialect]} NEW.{name}" for name in _WATCHED)
    day = _DAYS[dialect].format(of="NEW")
    if dialect == "postgresql":
        return [*_functions(add, take, day), *_triggers_of_functions(changed)]
    keep_day = f"UPDATE jobs SET day = {day} WHERE job_id = NEW.job_id;"  # noqa: S608 - no value of anybody in it
    return [
        f"CREATE TRIGGER jobs_are_tallied AFTER INSERT ON jobs BEGIN {add} {keep_day} END",
        f"CREATE TRIGGER jobs_change_tallies AFTER UPDATE ON jobs WHEN {changed} BEGIN {take} {add} END",
        f"CREATE TRIGGER jobs_leave_tallies AFTER DELETE ON jobs BEGIN {take} END",
    ]


def _functions(add: str, take: str, day: str) -> list[str]:
    bodies = {
        "lyftlearn_day": f"NEW.day := {day}; RETURN NEW;",
        "lyftlearn_add": f"{add} RETURN NULL;",
        "lyftlearn_take": f"{take} RETURN NULL;",
        "lyftlearn_change": f"{take} {add} RETURN NULL;",
    }
    rights = "SECURITY DEFINER SET search_path FROM CURRENT"
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {rights} AS $$ BEGIN {body} END $$"
        for name, body in bodies.items()
    ]


def _triggers_of_functions(changed: str) -> list[str]:
    each, then = "ON jobs FOR EACH ROW", "EXECUTE FUNCTION"
    return [
        f"CREATE TRIGGER jobs_have_days BEFORE INSERT {each} {then} lyftlearn_day()",
        f"CREATE TRIGGER jobs_are_tallied AFTER INSERT {each} {then} lyftlearn_add()",
        f"CREATE TRIGGER jobs_leave_tallies AFTER DELETE {each} {then} lyftlearn_take()",
        f"CREATE TRIGGER jobs_change_tallies AFTER UPDATE {each} WHEN ({changed}) {then} lyftlearn_change()",
    ]


def _counts(dialect: str) -> list[str]:
    """Return the statements that count the jobs that are there."""
    keys = [_value(name, dialect, "jobs", 1) for name in _KEYS]
    sums = [f"sum({_value(name, dialect, 'jobs', 1)})" for name in _COLUMNS[len(_KEYS) : -1]]
    selected = ", ".join([*keys, *sums, "max(jobs.at)", _TRUE[dialect]])
    grouped = ", ".join(keys)
    return [
        f"UPDATE jobs SET day = {_DAYS[dialect].format(of='jobs')}",  # noqa: S608 - as above
        f"INSERT INTO tallies ({', '.join(_COLUMNS)}, folded) SELECT {selected} FROM jobs GROUP BY {grouped}",  # noqa: S608 - as above
    ]


def upgrade() -> None:
    """Add them to an earlier history, and count what it has."""
    dialect = op.get_bind().dialect.name
    op.add_column("jobs", sa.Column("day", sa.String(length=10), nullable=True))
    _make_tallies()
    for statement in (*_triggers(dialect), *_counts(dialect)):
        op.execute(statement)
    op.create_index("ix_jobs_sizes", "jobs", list(_SIZES), unique=False)
    op.create_index("ix_tallies_day", "tallies", ["day"], unique=False)
    loose = sa.text("NOT folded" if dialect == "postgresql" else "folded = 0")
    op.create_index("ix_tallies_loose", "tallies", ["day"], unique=False, sqlite_where=loose, postgresql_where=loose)
