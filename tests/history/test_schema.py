"""The tables: made at once, made step by step, and of another version than this client knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from lyftlearn.history import schema
from lyftlearn.history.rows import SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.history.tables import details, jobs, meta
from lyftlearn.history.tallies import trigger_statements
from tests.doubles.postgres import Postgres


def check_both_ways(url: str) -> None:
    """Let every file in `versions/` run over nothing, and compare what comes of it with today's tables."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = schema.alembic_config(connection)
        command.upgrade(config, "head")
        assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD
        assert connection.scalar(sa.select(schema.version.c.version_num)) == schema.HEAD
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.version.name})
        assert compare_metadata(context, meta) == []
        stepwise = triggers(connection)
    with engine.begin() as connection:
        drop_triggers(connection)
        for statement in trigger_statements(connection.dialect.name):
            connection.exec_driver_sql(statement)
        assert triggers(connection) == stepwise, "a trigger that changes needs a file of its own in versions/"
    engine.dispose()


def triggers(connection: sa.Connection) -> set[str]:
    """Return the words of all triggers, and of the functions that they call."""
    return {str(row[0]) for row in connection.exec_driver_sql(_TRIGGERS[connection.dialect.name])}


def drop_triggers(connection: sa.Connection) -> None:
    for statement in [row[0] for row in connection.exec_driver_sql(_DROPS[connection.dialect.name])]:
        connection.exec_driver_sql(statement)


_TRIGGERS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": """
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION SELECT pg_get_functiondef(tgfoid) FROM pg_trigger WHERE NOT tgisinternal
    """,
}
_DROPS = {
    "sqlite": "SELECT 'DROP TRIGGER ' || name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": """
        SELECT 'DROP FUNCTION ' || oid::regprocedure || ' CASCADE' FROM pg_proc WHERE proname ~ '^lyftlearn'
    """,
}


def test_step_by_step_is_at_once(tmp_path: Path) -> None:
    """A history that was led here by Alembic has the tables of one that was made today."""
    check_both_ways(f"sqlite:///{tmp_path / 'history.sqlite'}")


@pytest.mark.slow
def test_step_by_step_is_at_once_on_postgresql(postgres: Postgres) -> None:
    """As above, where types and conditions of indexes have other words."""
    check_both_ways(postgres.url)


def test_what_a_step_does_never_changes() -> None:
    """A file in `versions/` has its own words: whatever it took from today's code would change with that."""
    folder = Path(schema.__file__).parent / "versions"
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert [name for name in names if name.startswith("lyftlearn")] == [], path.name


def test_a_newer_history_is_written_on(tmp_path: Path) -> None:
    """A platform updates its clients one by one: those of before go on, and change nothing of the tables."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    newer = History(url)
    with newer.connection() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN region TEXT")
        connection.execute(schema.version.update().values(version_num="9999"))
    older = History(url)
    older.record(SubmissionRow(job_id="one", at=datetime.now(UTC), model="m", kind="train", backend="old"))
    assert len(older.select(sa.select(jobs))) == 1
    with older.connection() as connection:
        assert connection.scalar(sa.select(schema.version.c.version_num)) == "9999"


def test_a_history_of_the_first_version_is_led_here(tmp_path: Path) -> None:
    """Its jobs stay, and have what later versions note as unknown."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with sa.create_engine(url).begin() as connection:
        command.upgrade(schema.alembic_config(connection), "0001")
        connection.exec_driver_sql(
            "INSERT INTO jobs (job_id, at, model, kind, backend, fell_back)"
            " VALUES ('one', '2026-01-01 00:00:00', 'eta', 'train', 'old', 0)"
        )
    history = History(url)
    history.record(SubmissionRow(job_id="two", at=datetime.now(UTC), model="m", kind="train", backend="old", code="f0"))
    assert {row["job_id"] for row in history.select(sa.select(jobs))} == {"one", "two"}
    (noted,) = history.select(sa.select(details.c.source, details.c.version))
    assert (noted["source"], noted["version"]) == ("f0", None)


def test_a_file_loads_nothing_of_servers(tmp_path: Path) -> None:
    """Tables, writes and questions of a file know no other dialect: it takes as long to load as a whole question."""
    program = (
        "import sys; from datetime import datetime, UTC\n"
        "from lyftlearn._migration import outlook\n"
        "from lyftlearn.history.rows import SubmissionRow\n"
        "from lyftlearn.history.store import History\n"
        "row = SubmissionRow(job_id='one', at=datetime.now(UTC), model='m', kind='train', backend='a')\n"
        f"History('sqlite:///{tmp_path}/history.sqlite').record(row)\n"
        "print([name for name in sys.modules if name.startswith('sqlalchemy.dialects.postgresql')])\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
