# ruff: noqa: S608 - statements without any value of anybody in them
"""What jobs were made with, under a short name; tallies of what is shown of a migration's other side.

What `lyftlearn.history.makings` and `tallies` make today may become something else, so this file has the words of its
time.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_MADE_OF = ("image", "source", "version", "features")
_NAMES = ", ".join(_MADE_OF)
_KEYS = (
    *("day", "repository", "model", "kind", "backend", "stage", "source", "is_shadow", "status", "fell_back"),
    *("rehearsed_on", "is_hindered", "is_on_several", "making"),
)
_COLUMNS = (*_KEYS, "jobs", "newest")
_WATCHED = (
    *("repository", "model", "kind", "backend", "stage", "source", "status", "fell_back", "rehearsed_on", "making"),
    *("at", "shadow_of", "obstacles", "nodes"),
)
_DAYS = {"sqlite": "substr({of}.at, 1, 10)", "postgresql": "to_char({of}.at, 'YYYY-MM-DD')"}
_VALUES = {
    "is_shadow": "({of}.shadow_of IS NOT NULL)",
    "is_hindered": "({of}.obstacles > 0)",
    "is_on_several": "(coalesce({of}.nodes, 1) > 1)",
    "jobs": "{sign}",
    "newest": "CASE WHEN {sign} > 0 THEN {of}.at END",
}
_FALSE = {"sqlite": "0", "postgresql": "false"}
_TRUE = {"sqlite": "1", "postgresql": "true"}
_DIFFERS = {"sqlite": "IS NOT", "postgresql": "IS DISTINCT FROM"}


def _make_tables() -> None:
    op.add_column("jobs", sa.Column("making", sa.String(length=16), nullable=True))
    op.create_table(
        "makings",
        sa.Column("making", sa.String(length=16), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=True),
        sa.Column("features", sa.Text(), nullable=True),
    )
    op.create_table(
        "evidence",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("backend", sa.String(length=63), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("fell_back", sa.Boolean(), nullable=True),
        sa.Column("rehearsed_on", sa.String(length=63), nullable=True),
        sa.Column("making", sa.String(length=16), nullable=True),
        sa.Column("is_shadow", sa.Boolean(), nullable=False),
        sa.Column("is_hindered", sa.Boolean(), nullable=True),
        sa.Column("is_on_several", sa.Boolean(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("newest", sa.DateTime(), nullable=True),
        sa.Column("folded", sa.Boolean(), nullable=False),
    )


def _index_tables(dialect: str) -> None:
    op.create_index("ix_makings_making", "makings", ["making"], unique=False)
    values, nothing = ["source", "image", "version", "features"], sa.text("false")
    op.create_index("ix_makings_values", "makings", values, unique=False, postgresql_where=nothing)
    op.create_index("ix_evidence_day", "evidence", ["day"], unique=False)
    loose = sa.text("NOT folded" if dialect == "postgresql" else "folded = 0")
    op.create_index("ix_evidence_loose", "evidence", ["day"], unique=False, sqlite_where=loose, postgresql_where=loose)


def _is_told(of: str) -> str:
    return " OR ".join(f"{of}.{name} IS NOT NULL" for name in _MADE_OF)


def _changed(names: tuple[str, ...], dialect: str) -> str:
    return " OR ".join(f"OLD.{name} {_DIFFERS[dialect]} NEW.{name}" for name in names)


def _makings_of_sqlite() -> list[str]:
    same = " AND ".join(f"makings.{name} IS NEW.{name}" for name in _MADE_OF)
    found = f"(SELECT min(making) FROM makings WHERE {same})"
    values = f"lower(hex(randomblob(8))), {', '.join(f'NEW.{name}' for name in _MADE_OF)}"
    add = f"INSERT INTO makings (making, {_NAMES}) SELECT {values} WHERE {found} IS NULL;"
    keep = f"UPDATE jobs SET making = {found} WHERE job_id = NEW.job_id AND making IS NOT {found};"
    late = f"UPDATE jobs SET making = ({_making_of_sqlite('NEW')}) WHERE job_id = NEW.job_id;"
    there = f"EXISTS (SELECT 1 FROM details WHERE job_id = NEW.job_id AND ({_is_told('details')}))"
    changed = _changed(_MADE_OF, "sqlite")
    return [
        f"CREATE TRIGGER details_have_makings AFTER INSERT ON details WHEN {_is_told('NEW')} BEGIN {add} {keep} END",
        f"CREATE TRIGGER details_change_makings AFTER UPDATE ON details WHEN {changed} BEGIN {add} {keep} END",
        f"CREATE TRIGGER jobs_have_makings AFTER INSERT ON jobs WHEN {there} BEGIN {late} END",
    ]


def _making_of_sqlite(job: str) -> str:
    both = " AND ".join(f"makings.{name} IS details.{name}" for name in _MADE_OF)
    joined = f"FROM details JOIN makings ON {both}"
    return f"SELECT min(makings.making) {joined} WHERE details.job_id = {job}.job_id"


def _digest(of: str) -> str:
    whole = f"CAST(ROW({', '.join(f'{of}.{name}' for name in _MADE_OF)}) AS text)"
    return f"substr(encode(sha256(convert_to({whole}, 'UTF8')), 'hex'), 1, 16)"


def _makings_of_postgresql() -> list[str]:
    digest, values = _digest("NEW"), ", ".join(f"NEW.{name}" for name in _MADE_OF)
    there = f"EXISTS (SELECT 1 FROM makings WHERE making = {digest})"
    add = f"INSERT INTO makings (making, {_NAMES}) SELECT {digest}, {values} WHERE NOT {there};"
    keep = f"UPDATE jobs SET making = {digest} WHERE job_id = NEW.job_id AND making IS DISTINCT FROM {digest};"
    known = f"SELECT {_digest('details')} FROM details WHERE job_id = NEW.job_id AND ({_is_told('details')})"
    each, note = "ON details FOR EACH ROW", "EXECUTE FUNCTION lyftlearn_make()"
    return [
        _function("lyftlearn_make", f"{add} {keep} RETURN NULL;"),
        _function("lyftlearn_made", f"NEW.making := ({known}); RETURN NEW;"),
        f"CREATE TRIGGER details_have_makings AFTER INSERT {each} WHEN ({_is_told('NEW')}) {note}",
        f"CREATE TRIGGER details_change_makings AFTER UPDATE {each} WHEN ({_changed(_MADE_OF, 'postgresql')}) {note}",
        "CREATE TRIGGER jobs_have_makings BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION lyftlearn_made()",
    ]


def _function(name: str, body: str) -> str:
    rights = "SECURITY DEFINER SET search_path FROM CURRENT"
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {rights} AS $$ BEGIN {body} END $$"


def _fill_makings(dialect: str) -> list[str]:
    """Return the statements that say of the jobs that are there what they were made with."""
    told = f"SELECT DISTINCT {_NAMES} FROM details WHERE {_is_told('details')}"
    if dialect == "sqlite":
        making, known = "lower(hex(randomblob(8)))", f"making = ({_making_of_sqlite('jobs')})"
        of_told = f"job_id IN (SELECT job_id FROM details WHERE {_is_told('details')})"
        keep = f"UPDATE jobs SET {known} WHERE {of_told}"
    else:
        making, known = _digest("told"), f"making = {_digest('details')}"
        keep = f"UPDATE jobs SET {known} FROM details WHERE details.job_id = jobs.job_id AND ({_is_told('details')})"
    return [f"INSERT INTO makings (making, {_NAMES}) SELECT {making}, {_NAMES} FROM ({told}) AS told", keep]


def _value(name: str, dialect: str, of: str, sign: int) -> str:
    text = _DAYS[dialect] if name == "day" else _VALUES.get(name, f"{{of}}.{name}")
    return text.format(of=of, sign=sign)


def _insertion(dialect: str, of: str, sign: int) -> str:
    values = ", ".join(_value(name, dialect, of, sign) for name in _COLUMNS)
    return f"INSERT INTO evidence ({', '.join(_COLUMNS)}, folded) SELECT {values}, {_FALSE[dialect]};"


def _triggers(dialect: str) -> list[str]:
    add, take = _insertion(dialect, "NEW", 1), _insertion(dialect, "OLD", -1)
    changed = _changed(_WATCHED, dialect)
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER jobs_are_evidence AFTER INSERT ON jobs BEGIN {add} END",
            f"CREATE TRIGGER jobs_change_evidence AFTER UPDATE ON jobs WHEN {changed} BEGIN {take} {add} END",
            f"CREATE TRIGGER jobs_leave_evidence AFTER DELETE ON jobs BEGIN {take} END",
        ]
    each, of = "ON jobs FOR EACH ROW", "EXECUTE FUNCTION lyftlearn"
    return [
        _function("lyftlearn_add_evidence", f"{add} RETURN NULL;"),
        _function("lyftlearn_take_evidence", f"{take} RETURN NULL;"),
        _function("lyftlearn_change_evidence", f"{take} {add} RETURN NULL;"),
        f"CREATE TRIGGER jobs_are_evidence AFTER INSERT {each} {of}_add_evidence()",
        f"CREATE TRIGGER jobs_leave_evidence AFTER DELETE {each} {of}_take_evidence()",
        f"CREATE TRIGGER jobs_change_evidence AFTER UPDATE {each} WHEN ({changed}) {of}_change_evidence()",
    ]


def _count(dialect: str) -> str:
    """Return the statement that counts the jobs that are there."""
    keys = [_value(name, dialect, "jobs", 1) for name in _KEYS]
    selected, grouped = ", ".join([*keys, "count(*)", "max(jobs.at)", _TRUE[dialect]]), ", ".join(keys)
    return f"INSERT INTO evidence ({', '.join(_COLUMNS)}, folded) SELECT {selected} FROM jobs GROUP BY {grouped}"


def upgrade() -> None:
    """Add them to an earlier history, and count what it has."""
    dialect = op.get_bind().dialect.name
    _make_tables()
    _index_tables(dialect)
    makings = _makings_of_sqlite() if dialect == "sqlite" else _makings_of_postgresql()
    for statement in (*_fill_makings(dialect), _count(dialect), *makings, *_triggers(dialect)):
        op.execute(statement)
