"""The state of a history's tables: made where there are none, and led to today's by Alembic where they are older.

A history that is newer than this client is left as it is: what later versions add may be empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from lyftlearn.history.tables import meta
from lyftlearn.history.tallies import trigger_statements

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

_EXPECTED = "write sqlite:///<path> or postgresql://<user>@<host>:<port>/<database>"
HEAD = "0007"
"""The newest file in `versions/`."""
_EARLIER = frozenset({"0001", "0002", "0003", "0004", "0005", "0006"})
_LOCK = 0x6C796674  # of PostgreSQL, for whoever changes the tables
version = sa.Table("lyftlearn_history", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
"""Alembic's own table, under a name that leaves a database of other applications theirs."""


def engine_url(url: str) -> sa.URL:
    """Return what SQLAlchemy takes for `url`. Its versions before 2.1 do not read `%3F` in the path of a file."""
    dialect, _, path = url.partition(":///")
    if dialect == "sqlite" and "?" not in path:
        return sa.URL.create(dialect, database=unquote(path))
    try:
        return sa.make_url(url)
    except (ValueError, ArgumentError) as exc:
        raise ValueError(f"the history's URL cannot be read: {_EXPECTED}") from exc


def prepare(engine: sa.Engine) -> None:
    """Make or change the tables where that is needed. Other processes may do the same at once."""
    with engine.connect() as connection:
        found = _version_of(connection)
    if found is None or found in _EARLIER:
        with engine.begin() as connection:
            _lock(connection)
            _bring_up_to_date(connection, _version_of(connection))


def alembic_config(connection: sa.Connection) -> AlembicConfig:
    """Return what Alembic needs to work on this connection."""
    from alembic.config import Config  # noqa: PLC0415 - only where a history of an earlier version is changed

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _version_of(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(version.name):
        return None
    return connection.scalar(sa.select(version.c.version_num))


def _bring_up_to_date(connection: sa.Connection, found: str | None) -> None:
    if found is None:
        meta.create_all(connection)
        for statement in trigger_statements(connection.dialect.name):
            connection.exec_driver_sql(statement)
        version.create(connection, checkfirst=True)
        connection.execute(version.insert().values(version_num=HEAD))
    elif found in _EARLIER:
        from alembic import command  # noqa: PLC0415 - as above

        command.upgrade(alembic_config(connection), "head")


def _lock(connection: sa.Connection) -> None:
    """Wait until nobody else changes the tables; until the end of the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
