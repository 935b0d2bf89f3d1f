"""What Alembic runs to change the tables: on the connection that it is given, in the transaction of whoever gave it."""

from __future__ import annotations

from alembic import context

from lyftlearn.history.schema import version
from lyftlearn.history.tables import meta

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=meta,
    version_table=version.name,
    transactional_ddl=False,  # the caller commits
)
context.run_migrations()
