"""A backend that takes its time keeps no page waiting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lyftlearn
from lyftlearn.dashboard import app
from lyftlearn.errors import BackendUnavailable


def opened(home: Path) -> Any:
    return app._Dashboard(lyftlearn.Client(config={"home": str(home), "backend": "local"}), app.Settings(token="t"))


def test_the_state_of_an_open_job_comes_with_a_later_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page shows what the history knows; the answer that was late is on the next."""
    pages, may_answer = opened(tmp_path), threading.Event()
    shared = SimpleNamespace(backend=SimpleNamespace(link=lambda _: "https://console/one"))

    def ask(job_id: str) -> Any:
        assert may_answer.wait(600)
        return SimpleNamespace(state=f"of {job_id}", _shared_watch=lambda: shared)

    monkeypatch.setattr(pages.client, "job", ask)
    assert pages._state("one") == (None, None)
    may_answer.set()
    until = time.monotonic() + 60
    while (found := pages._state("one")) == (None, None) and time.monotonic() < until:
        time.sleep(0.05)
    assert found == ("of one", "https://console/one")


def test_a_backend_that_is_away_is_no_error_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history has said what it knows."""
    pages = opened(tmp_path)

    def refuse(job_id: str) -> Any:
        raise BackendUnavailable(f"{job_id}: away")

    monkeypatch.setattr(pages.client, "job", refuse)
    assert pages._state("one") == (None, None)
