"""Tallies: the jobs of each day counted by what they have in common, so that no question reads a million of them.

There are two: `tallies` is about ends, times and costs, `evidence` about what is shown of a migration's other side.
The database keeps them itself, by triggers: clients of an earlier version, which know nothing of them, change them with
each job, too. A change adds a row, or takes one away by adding a row with negative numbers. So writers never wait for
each other, and a line that is written twice changes nothing, because it changes no job. `fold` adds up loose rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from lyftlearn.history.makings import function_statement, making_statements
from lyftlearn.history.tables import EVIDENCE_KEYS, TALLIED, TALLIED_KEYS, Moment, evidence, jobs, tallies

_MOST_LOOSE = 5000
_LOCK = 0x6C796675  # of PostgreSQL, for whoever folds
_DAYS: Mapping[str, str] = {
    "sqlite": "substr({of}.at, 1, 10)",  # keeps moments as texts
    "postgresql": "to_char({of}.at, 'YYYY-MM-DD')",
}
_FALSE: Mapping[str, str] = {"sqlite": "0", "postgresql": "false"}
_VALUES: Mapping[str, str] = {
    "is_shadow": "({of}.shadow_of IS NOT NULL)",
    "is_hindered": "({of}.obstacles > 0)",
    "is_on_several": "(coalesce({of}.nodes, 1) > 1)",
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


@dataclass(frozen=True, eq=False)
class Kept:
    """The tallies of one table. keys: what jobs have in common; sums: what is added up of them.

    also: columns of jobs that make keys and sums under other names. counting: the name of the trigger that adds a job.
    suffix: of the functions on PostgreSQL.
    """

    table: sa.Table
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    also: tuple[str, ...]
    counting: str
    suffix: str

    @property
    def columns(self) -> tuple[str, ...]:
        """What a job has in its row."""
        return (*self.keys, *self.sums, "newest")

    @property
    def watches(self) -> list[str]:
        """The columns of jobs a change of which changes the row."""
        return [name for name in dict.fromkeys((*self.keys, *self.also)) if name in jobs.c and name != "day"]


TALLIES = Kept(
    tallies,
    TALLIED_KEYS,
    TALLIED,
    ("at", "shadow_of", "start_up", "duration", "nodes", "cost"),
    counting="jobs_are_tallied",
    suffix="",
)
EVIDENCE = Kept(
    evidence,
    EVIDENCE_KEYS,
    ("jobs",),
    ("at", "shadow_of", "obstacles", "nodes"),
    counting="jobs_are_evidence",
    suffix="_evidence",
)


def trigger_statements(dialect: str) -> list[str]:
    """Return the statements that make the triggers, on a history without any."""
    return [*_OF_DIALECT[dialect](TALLIES), *making_statements(dialect), *_OF_DIALECT[dialect](EVIDENCE)]


def _change_condition(dialect: str, kept: Kept) -> str:
    differs = {"sqlite": "IS NOT", "postgresql": "IS DISTINCT FROM"}[dialect]
    return " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in kept.watches)


def _of_sqlite(kept: Kept) -> list[str]:
    add, take = _insertion("sqlite", kept, "NEW", 1), _insertion("sqlite", kept, "OLD", -1)
    day = _DAYS["sqlite"].format(of="NEW")
    keep_day = f" UPDATE jobs SET day = {day} WHERE job_id = NEW.job_id;"  # noqa: S608 - no value of anybody in it
    changed, name = _change_condition("sqlite", kept), kept.table.name
    return [
        f"CREATE TRIGGER {kept.counting} AFTER INSERT ON jobs BEGIN {add}{keep_day if kept is TALLIES else ''} END",
        f"CREATE TRIGGER jobs_change_{name} AFTER UPDATE ON jobs WHEN {changed} BEGIN {take} {add} END",
        f"CREATE TRIGGER jobs_leave_{name} AFTER DELETE ON jobs BEGIN {take} END",
    ]


def _of_postgresql(kept: Kept) -> list[str]:
    add, take = _insertion("postgresql", kept, "NEW", 1), _insertion("postgresql", kept, "OLD", -1)
    each, then, of, name = "ON jobs FOR EACH ROW", "EXECUTE FUNCTION", kept.suffix, kept.table.name
    changed = _change_condition("postgresql", kept)
    return [
        *(_days_of_postgresql() if kept is TALLIES else []),
        function_statement(f"lyftlearn_add{of}", f"{add} RETURN NULL;"),
        function_statement(f"lyftlearn_take{of}", f"{take} RETURN NULL;"),
        function_statement(f"lyftlearn_change{of}", f"{take} {add} RETURN NULL;"),
        f"CREATE TRIGGER {kept.counting} AFTER INSERT {each} {then} lyftlearn_add{of}()",
        f"CREATE TRIGGER jobs_leave_{name} AFTER DELETE {each} {then} lyftlearn_take{of}()",
        f"CREATE TRIGGER jobs_change_{name} AFTER UPDATE {each} WHEN ({changed}) {then} lyftlearn_change{of}()",
    ]


def _days_of_postgresql() -> list[str]:
    day = _DAYS["postgresql"].format(of="NEW")
    return [
        function_statement("lyftlearn_day", f"NEW.day := {day}; RETURN NEW;"),
        "CREATE TRIGGER jobs_have_days BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION lyftlearn_day()",
    ]


_OF_DIALECT = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}


def _insertion(dialect: str, kept: Kept, of: str, sign: int) -> str:
    values = ", ".join(_value(name, dialect, of, sign) for name in kept.columns)
    return f"INSERT INTO {kept.table.name} ({', '.join(kept.columns)}, folded) SELECT {values}, {_FALSE[dialect]};"


def _value(name: str, dialect: str, of: str, sign: int) -> str:
    """Return what a job has for one column of the tallies, as SQL."""
    text = _DAYS[dialect] if name == "day" else _VALUES.get(name, f"{{of}}.{name}")
    return text.format(of=of, sign=sign)


def values_of_jobs(dialect: str, kept: Kept, sign: int = 1) -> list[sa.Label[Any]]:
    """Return what a row of `jobs` has for each column of the tallies."""
    of = kept.table.c
    return [sa.literal_column(_value(name, dialect, "jobs", sign), of[name].type).label(name) for name in kept.columns]


def counts(dialect: str, since: datetime | None, until: datetime | None, kept: Kept = TALLIES) -> sa.Subquery:
    """Return what the jobs submitted from `since` on and before `until` count: whole days from the tallies.

    The first and the last day, which a window cuts, are counted from their jobs. It has the columns of the tallies.
    """
    first, last = _next_midnight(since), _midnight(until)
    of = kept.table.c
    whole = sa.select(*(of[name] for name in kept.columns))
    if first is not None:
        whole = whole.where(of.day >= f"{first:%Y-%m-%d}")
    if last is not None:
        whole = whole.where(of.day < f"{last:%Y-%m-%d}")
    of_first = [jobs.c.at >= since, jobs.c.at < first] if since != first else []
    of_last = [jobs.c.at >= last, jobs.c.at < until] if until != last else []
    cut = [sa.and_(*within(since, until), *conditions) for conditions in (of_first, of_last) if conditions]
    values = values_of_jobs(dialect, kept)
    of_cut = [sa.select(*values).select_from(jobs).where(sa.or_(*cut))] if cut else []
    return sa.union_all(whole, *of_cut).subquery("counts")


def within(since: datetime | None, until: datetime | None = None) -> list[sa.ColumnElement[bool]]:
    """Return what holds of jobs that were submitted from `since` on and before `until`."""
    return [*([jobs.c.at >= since] if since else []), *([jobs.c.at < until] if until else [])]


def _midnight(moment: datetime | None) -> datetime | None:
    return None if moment is None else datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _next_midnight(moment: datetime | None) -> datetime | None:
    midnight = _midnight(moment)
    return midnight if moment is None or midnight is None or moment == midnight else midnight + timedelta(days=1)


def fold(connection: sa.Connection, *, at_least: int = _MOST_LOOSE) -> None:
    """Add up the rows of days with loose ones, if there are so many. What others write meanwhile stays loose."""
    for kept in (TALLIES, EVIDENCE):
        is_loose = ~kept.table.c.folded
        if (connection.scalar(sa.select(sa.func.count()).where(is_loose)) or 0) >= at_least:
            _fold(connection, kept, kept.table.c.day.in_(sa.select(kept.table.c.day).where(is_loose).distinct()))


def _fold(connection: sa.Connection, kept: Kept, of_those_days: sa.ColumnElement[bool]) -> None:
    table = kept.table
    if connection.dialect.name == "sqlite":  # nobody else writes until the end of this transaction
        last = connection.scalar(sa.select(sa.func.max(sa.literal_column("rowid"))).select_from(table))
        moved = of_those_days & (sa.literal_column("rowid") <= last)
        connection.execute(_insert_sums(kept, sa.select(table).where(moved).subquery()))
        connection.execute(table.delete().where(moved))
    elif connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))):
        taken = table.delete().where(of_those_days).returning(table).cte("taken")
        connection.execute(_insert_sums(kept, taken))


def _insert_sums(kept: Kept, taken: Any) -> sa.Insert:
    keys = [taken.c[name] for name in kept.keys]
    sums = [sa.func.sum(taken.c[name]) for name in kept.sums]
    query = sa.select(*keys, *sums, sa.func.max(taken.c.newest, type_=Moment), sa.true()).group_by(*keys)
    return kept.table.insert().from_select([*kept.columns, "folded"], query.having(sa.func.sum(taken.c.jobs) != 0))
