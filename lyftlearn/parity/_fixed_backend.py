"""A client whose jobs go to one backend, whatever the flag, the configuration or the environment say."""

from __future__ import annotations

from lyftlearn._client import Client
from lyftlearn._session import Session
from lyftlearn.config import Config
from lyftlearn.rollout import PARITY, Decision


def fixed_backend_client(config: Config, backend: str) -> Client:
    """Return a client that submits to `backend` alone. Its jobs belong to no migration."""
    tables = {name: table for name, table in config.tables.items() if name != "migration"}
    decision = Decision(backend=backend, reason="backends are compared", source=PARITY, attributes={})
    session = Session(Config(config.source, {**tables, "backend": backend}), decider=lambda _: decision)
    return Client._of(session)  # noqa: SLF001 - the client's other half
