"""A client whose jobs go to one backend, whatever the flag, the configuration or the environment say."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from lyftlearn._client import Client
from lyftlearn._session import World
from lyftlearn.config import Config
from lyftlearn.rollout import Decision

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments

_WHO = "lyftlearn parity"


class FixedBackendClient(Client):
    """Submits to `backend` alone. Its jobs are no part of a migration: they are neither journalled nor shadowed."""

    def __init__(self, config: Config, backend: str) -> None:
        super().__init__()
        tables = {name: table for name, table in config.tables.items() if name != "migration"}
        self._world = _PinnedWorld(Config(config.source, {**tables, "backend": backend}), backend)
        weakref.finalize(self, self._world.close)


class _PinnedWorld(World):
    def __init__(self, config: Config, backend: str) -> None:
        super().__init__(config)
        self._backend = backend

    def decide(self, arguments: Arguments, backend: str | None = None) -> Decision:  # noqa: ARG002 - it is settled
        return Decision(backend=self._backend, reason="backends are compared", source=_WHO, attributes={})
