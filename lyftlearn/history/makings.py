# ruff: noqa: S608 - statements without any value of anybody in them
"""Makings: what jobs were made with and what they use, which many have in common, as the database notes it.

Triggers keep for each job which row of `makings` has what `details` says of it, so that tallies have one short key for
all of that, and jobs of clients that know nothing of it are no exception. PostgreSQL names a row by a digest, so two
writers that add it at once need not wait for each other. SQLite has no digest, and one writer at a time: it draws lots.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from lyftlearn.history.tables import makings

MADE_OF = ("image", "source", "version", "features")
_NAMES = ", ".join(MADE_OF)


def making_statements(dialect: str) -> list[str]:
    """Return the statements that make the triggers, on a history without any."""
    return _OF_DIALECT[dialect]()


def function_statement(name: str, body: str) -> str:
    """Return a function that works for every role that may write jobs, whatever else that role may do."""
    rights = "SECURITY DEFINER SET search_path FROM CURRENT"
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {rights} AS $$ BEGIN {body} END $$"


def _any_of(conditions: Iterable[str]) -> str:
    return " OR ".join(conditions)


def _is_told(of: str) -> str:
    """Return what holds of details that say anything, as SQL."""
    return _any_of(f"{of}.{name} IS NOT NULL" for name in MADE_OF)


def _of_sqlite() -> list[str]:
    same = " AND ".join(f"makings.{name} IS NEW.{name}" for name in MADE_OF)
    found = f"(SELECT min(making) FROM makings WHERE {same})"
    values = f"lower(hex(randomblob(8))), {', '.join(f'NEW.{name}' for name in MADE_OF)}"
    add = f"INSERT INTO makings (making, {_NAMES}) SELECT {values} WHERE {found} IS NULL;"
    keep = f"UPDATE jobs SET making = {found} WHERE job_id = NEW.job_id AND making IS NOT {found};"
    changed = _any_of(f"OLD.{name} IS NOT NEW.{name}" for name in MADE_OF)
    both = " AND ".join(f"makings.{name} IS details.{name}" for name in MADE_OF)
    of_details = "FROM details JOIN makings ON " + both + " WHERE details.job_id = NEW.job_id"
    late = f"UPDATE jobs SET making = (SELECT min(makings.making) {of_details}) WHERE job_id = NEW.job_id;"
    there = f"EXISTS (SELECT 1 FROM details WHERE job_id = NEW.job_id AND ({_is_told('details')}))"
    return [
        f"CREATE TRIGGER details_have_makings AFTER INSERT ON details WHEN {_is_told('NEW')} BEGIN {add} {keep} END",
        f"CREATE TRIGGER details_change_makings AFTER UPDATE ON details WHEN {changed} BEGIN {add} {keep} END",
        f"CREATE TRIGGER jobs_have_makings AFTER INSERT ON jobs WHEN {there} BEGIN {late} END",
    ]


def _digest(of: str) -> str:
    whole = f"CAST(ROW({', '.join(f'{of}.{name}' for name in MADE_OF)}) AS text)"
    return f"substr(encode(sha256(convert_to({whole}, 'UTF8')), 'hex'), 1, 16)"


def _of_postgresql() -> list[str]:
    digest, values = _digest("NEW"), ", ".join(f"NEW.{name}" for name in MADE_OF)
    there = f"EXISTS (SELECT 1 FROM makings WHERE making = {digest})"
    add = f"INSERT INTO makings (making, {_NAMES}) SELECT {digest}, {values} WHERE NOT {there};"
    keep = f"UPDATE jobs SET making = {digest} WHERE job_id = NEW.job_id AND making IS DISTINCT FROM {digest};"
    changed = _any_of(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in MADE_OF)
    known = f"SELECT {_digest('details')} FROM details WHERE job_id = NEW.job_id AND ({_is_told('details')})"
    each, note = "ON details FOR EACH ROW", "EXECUTE FUNCTION lyftlearn_make()"
    return [
        function_statement("lyftlearn_make", f"{add} {keep} RETURN NULL;"),
        function_statement("lyftlearn_made", f"NEW.making := ({known}); RETURN NEW;"),
        f"CREATE TRIGGER details_have_makings AFTER INSERT {each} WHEN ({_is_told('NEW')}) {note}",
        f"CREATE TRIGGER details_change_makings AFTER UPDATE {each} WHEN ({changed}) {note}",
        "CREATE TRIGGER jobs_have_makings BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION lyftlearn_made()",
    ]


_OF_DIALECT = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}


def known_makings() -> sa.Subquery:
    """Return each making once, also one that two writers added at once."""
    return sa.select(makings).distinct().subquery("makings")
