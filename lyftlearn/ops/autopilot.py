"""The autopilot of a migration, for whoever runs it: once, or until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn._client import Client
from lyftlearn.config import migrations
from lyftlearn.errors import InvalidJob
from lyftlearn.ops.history import open_history
from lyftlearn.rollout.kill_switch import ABSENT, KillSwitch

if TYPE_CHECKING:
    from lyftlearn._migration.results import AutopilotRun
    from lyftlearn.config import Config

_SECONDS_TO_LOOK = 20.0  # a process that begins has to load the storage's client and find credentials


def migration_autopilot(*, dry_run: bool = False, client: Client | None = None) -> AutopilotRun:
    """Look at every model of the migration once, and raise, lower or hold it. Return what was decided, and why.

    It asks the backends how jobs ended, for half a minute at most. dry_run: change nothing. Raises InvalidJob for what
    is not configured, or for a flag file that is broken, and BackendUnavailable if the history cannot be used or
    another autopilot is at work.
    """
    from lyftlearn._migration import reconcile  # noqa: PLC0415 - brings SQLAlchemy
    from lyftlearn._migration.autopilot import Autopilot  # noqa: PLC0415 - as above
    from lyftlearn._migration.rung_store import open_store  # noqa: PLC0415 - as above

    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    config = session.config
    if config.migration_to is None:
        raise InvalidJob([migrations.missing(config.tables)])
    store = open_store(config)
    with open_history(session) as history:
        reconcile.reconcile(history, session.registry, config)
        return Autopilot(history, config, store, lambda: _is_stopped(config)).run(dry_run=dry_run)


def _is_stopped(config: Config) -> bool:
    """Return whether the kill switch keeps everything on the old backend, or nobody knows: then nothing is raised."""
    return config.kill_switch is not None and KillSwitch(config, _SECONDS_TO_LOOK).look() != (False, ABSENT)
