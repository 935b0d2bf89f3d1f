"""The fixtures of this room's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyftlearn import Client
from lyftlearn.history.store import History
from tests.doubles.old_and_new import make, plugins
from tests.doubles.postgres import postgres
from tests.migration.records import NEW, OLD

__all__ = ["make", "plugins", "postgres"]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    return Client(config={"home": str(tmp_path), "migration": {"from": OLD, "to": NEW}})


@pytest.fixture
def journal(client: Client) -> History:
    return client._session.recorder.journal()
