"""Tallies: the jobs of each day counted by what they have in common, so that no question reads a million of them.

The database keeps them itself, by triggers: clients of an earlier version, which know nothing of them, change them with
each job, too. A change adds a row, or takes one away by adding a row with negative numbers. So writers never wait for
each other, and a line that is written twice changes nothing, because it changes no job. `fold` adds up loose rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from lyftlearn.history.tables import TALLIED, TALLIED_KEYS, Moment, jobs, tallies

_MOST_LOOSE = 5000
_LOCK = 0x6C796675  # of PostgreSQL, for whoever folds
_DAYS: Mapping[str, str] = {
    "sqlite": "substr({of}.at, 1, 10)",  # keeps moments as texts
    "postgresql": "to_char({of}.at, 'YYYY-MM-DD')",
}
_FALSE: Mapping[str, str] = {"sqlite": "0", "postgresql": "false"}
_VALUES: Mapping[str, str] = {
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
_COLUMNS = (*TALLIED_KEYS, *TALLIED, "newest")
_WATCHED = dict.fromkeys((*TALLIED_KEYS, "at", "shadow_of", "start_up", "duration", "nodes", "cost"))


def trigger_statements(dialect: str) -> list[str]:
    """Return the statements that make the triggers, on a history without any."""
    add, take = _insertion(dialect, "NEW", 1), _insertion(dialect, "OLD", -1)
    watched = [name for name in _WATCHED if name not in ("day", "is_shadow")]
    differs = {"sqlite": "IS NOT", "postgresql": "IS DISTINCT FROM"}[dialect]
    changed = " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in watched)
    day = _DAYS[dialect].format(of="NEW")
    return _OF_DIALECT[dialect](add, take, changed, day)


def _of_sqlite(add: str, take: str, changed: str, day: str) -> list[str]:
    keep_day = f"UPDATE jobs SET day = {day} WHERE job_id = NEW.job_id;"  # noqa: S608 - no value of anybody in it
    return [
        f"CREATE TRIGGER jobs_are_tallied AFTER INSERT ON jobs BEGIN {add} {keep_day} END",
        f"CREATE TRIGGER jobs_change_tallies AFTER UPDATE ON jobs WHEN {changed} BEGIN {take} {add} END",
        f"CREATE TRIGGER jobs_leave_tallies AFTER DELETE ON jobs BEGIN {take} END",
    ]


def _of_postgresql(add: str, take: str, changed: str, day: str) -> list[str]:
    each, then = "ON jobs FOR EACH ROW", "EXECUTE FUNCTION"
    return [
        _function("lyftlearn_day", f"NEW.day := {day}; RETURN NEW;"),
        _function("lyftlearn_add", f"{add} RETURN NULL;"),
        _function("lyftlearn_take", f"{take} RETURN NULL;"),
        _function("lyftlearn_change", f"{take} {add} RETURN NULL;"),
        f"CREATE TRIGGER jobs_have_days BEFORE INSERT {each} {then} lyftlearn_day()",
        f"CREATE TRIGGER jobs_are_tallied AFTER INSERT {each} {then} lyftlearn_add()",
        f"CREATE TRIGGER jobs_leave_tallies AFTER DELETE {each} {then} lyftlearn_take()",
        f"CREATE TRIGGER jobs_change_tallies AFTER UPDATE {each} WHEN ({changed}) {then} lyftlearn_change()",
    ]


_OF_DIALECT = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}


def _function(name: str, body: str) -> str:
    """Return a function that works for every role that may write jobs, whatever else that role may do."""
    rights = "SECURITY DEFINER SET search_path FROM CURRENT"
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {rights} AS $$ BEGIN {body} END $$"


def _insertion(dialect: str, of: str, sign: int) -> str:
    values = f"SELECT {_selection(dialect, of, sign)}, {_FALSE[dialect]};"
    return f"INSERT INTO tallies ({', '.join(_COLUMNS)}, folded) {values}"


def _selection(dialect: str, of: str, sign: int) -> str:
    return ", ".join(_value(name, dialect, of, sign) for name in _COLUMNS)


def _value(name: str, dialect: str, of: str, sign: int) -> str:
    """Return what a job has for one column of the tallies, as SQL."""
    text = _DAYS[dialect] if name == "day" else _VALUES.get(name, f"{{of}}.{name}")
    return text.format(of=of, sign=sign)


def counts(dialect: str, since: datetime | None, until: datetime | None) -> sa.Subquery:
    """Return what the jobs submitted from `since` on and before `until` count: whole days from the tallies.

    The first and the last day, which a window cuts, are counted from their jobs. It has the columns of `tallies`.
    """
    first, last = _next_midnight(since), _midnight(until)
    whole = sa.select(*(tallies.c[name] for name in _COLUMNS))
    if first is not None:
        whole = whole.where(tallies.c.day >= f"{first:%Y-%m-%d}")
    if last is not None:
        whole = whole.where(tallies.c.day < f"{last:%Y-%m-%d}")
    of_first = [jobs.c.at >= since, jobs.c.at < first] if since != first else []
    of_last = [jobs.c.at >= last, jobs.c.at < until] if until != last else []
    cut = [sa.and_(*_within(since, until), *conditions) for conditions in (of_first, of_last) if conditions]
    typed = (sa.literal_column(_value(name, dialect, "jobs", 1), tallies.c[name].type).label(name) for name in _COLUMNS)
    parts = [whole, sa.select(*typed).select_from(jobs).where(sa.or_(*cut))] if cut else [whole]
    return sa.union_all(*parts).subquery("counts")


def _within(since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    return [*([jobs.c.at >= since] if since else []), *([jobs.c.at < until] if until else [])]


def _midnight(moment: datetime | None) -> datetime | None:
    return None if moment is None else datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _next_midnight(moment: datetime | None) -> datetime | None:
    midnight = _midnight(moment)
    return midnight if moment is None or midnight is None or moment == midnight else midnight + timedelta(days=1)


def fold(connection: sa.Connection, *, at_least: int = _MOST_LOOSE) -> None:
    """Add up the rows of days with loose ones, if there are so many. What others write meanwhile stays loose."""
    is_loose = ~tallies.c.folded
    if (connection.scalar(sa.select(sa.func.count()).where(is_loose)) or 0) < at_least:
        return
    of_those_days = tallies.c.day.in_(sa.select(tallies.c.day).where(is_loose).distinct())
    if connection.dialect.name == "sqlite":  # nobody else writes until the end of this transaction
        last = connection.scalar(sa.select(sa.func.max(sa.literal_column("rowid"))).select_from(tallies))
        moved = of_those_days & (sa.literal_column("rowid") <= last)
        connection.execute(_insert_sums(sa.select(tallies).where(moved).subquery()))
        connection.execute(tallies.delete().where(moved))
    elif connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))):
        taken = tallies.delete().where(of_those_days).returning(tallies).cte("taken")
        connection.execute(_insert_sums(taken))


def _insert_sums(taken: Any) -> sa.Insert:
    keys = [taken.c[name] for name in TALLIED_KEYS]
    sums = [sa.func.sum(taken.c[name]) for name in TALLIED]
    query = sa.select(*keys, *sums, sa.func.max(taken.c.newest, type_=Moment), sa.true()).group_by(*keys)
    return tallies.insert().from_select([*_COLUMNS, "folded"], query.having(sa.func.sum(taken.c.jobs) != 0))
