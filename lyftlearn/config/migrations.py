"""`[migrations]`: several migrations at once, each with its pair of backends.

A configuration has one that counts: that of `[migration]` if it says where to, else the one whose old backend is
`backend`. `LYFTLEARN_MIGRATION` names another. What `[migration]` sets holds for all that do not set it themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.options import display_value, read_options
from lyftlearn.config.keys import MIGRATION
from lyftlearn.errors import InvalidJob

MIGRATIONS, VARIABLE = "migrations", "LYFTLEARN_MIGRATION"
_OWN = ("from", "to")  # what two migrations never share
_Tables = Mapping[str, Any]


def migration_faults(where: str, tables: _Tables) -> Iterator[Fault]:
    """Yield what is wrong with the tables `[migrations.<name>]` of one file."""
    for name, table in tables.items():
        if isinstance(table, Mapping):
            yield from read_options(f"{where}.{name}", table, MIGRATION)[1]
        else:
            yield Fault(f"{where}.{name}", f"is {display_value(table)}: write the table [migrations.{name}]")


def contradictions(tables: _Tables, backend: str) -> Iterator[Fault]:
    """Yield why nobody could say which migration a job is in."""
    olds: dict[str, str] = {}
    for name, table in tables.items():
        old, new = table.get("from", backend), table.get("to")
        if new is None:
            yield Fault(f"migrations.{name}.to", "is missing: name the new backend")
        elif new == old:
            yield Fault(f"migrations.{name}.to", f"is {new!r}, which is the old backend, too: name another")
        other = olds.setdefault(old, name)
        if other != name:
            problem = f"is {old!r}, as that of {other}, so nobody knows where its jobs go: name another old backend"
            yield Fault(f"migrations.{name}.from", problem)


def chosen(tables: _Tables, backend: str) -> str | None:
    """Return the name of the migration that counts; None for the one of `[migration]`, or none. Raises InvalidJob."""
    named, migrations = os.environ.get(VARIABLE), tables.get(MIGRATIONS, {})
    if named:
        if named not in migrations:
            known = f"write {', '.join(migrations)}" if migrations else "there are none"
            raise InvalidJob([(VARIABLE, f"is {named!r}, which is no table of [migrations]: {known}")])
        return named
    if tables.get("migration", {}).get("to"):
        return None
    return next((name for name, table in migrations.items() if table.get("from", backend) == backend), None)


def table_of(tables: _Tables, name: str) -> dict[str, Any]:
    """Return the table of one migration, over what `[migration]` sets for all. Its flag is its own by default."""
    shared = {key: value for key, value in tables.get("migration", {}).items() if key not in _OWN}
    return {"flag": f"lyftlearn-migration-{name}", **shared, **tables[MIGRATIONS][name]}


def missing(tables: _Tables) -> Fault:
    """Return why there is no migration to look at, and what to do."""
    migrations = tables.get(MIGRATIONS, {})
    if migrations:
        problem = f"is `backend` for none of {', '.join(migrations)}: choose one by --migration, or by {VARIABLE}"
        return Fault("[migrations] from", problem)
    return Fault("[migration] to", "is not set, so nothing is migrated: name the old and the new backend")
