"""What lyftlearn keeps of a user's jobs is that user's alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyftlearn import Client, ops
from lyftlearn._contract.private import make_private
from lyftlearn._contract.runtime_archive import runtime_archive


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let all read, or write, what nobody thinks of."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_nobody_else_looks_into_a_home(tmp_path: Path) -> None:
    """Whichever comes first: the history, a source that is packed, or the runtime."""
    (tmp_path / "code").mkdir()
    for number, ask in enumerate((_submit, _pack, _list)):
        home = tmp_path / f"users/{number}/home"
        ask(Client(config={"home": str(home)}), tmp_path / "code")
        assert home.is_dir()
        assert {path.stat().st_mode & 0o077 for path in (home, home.parent)} == {0}
    assert (tmp_path / "users").stat().st_mode & 0o077 == 0


def _submit(client: Client, code: Path) -> None:
    client.process("eta", command="true", source=code).wait(progress=False)
    list(client.jobs())


def _pack(client: Client, code: Path) -> None:
    del code
    runtime_archive(client._config.home / "cache")


def _list(client: Client, code: Path) -> None:
    del code
    client._session.history.history()
    list(ops.clean("1d", client=client))


@pytest.mark.usefixtures("umask")
def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """Somebody has opened it, and knows why."""
    (tmp_path / "open").mkdir(mode=0o755)
    before = (tmp_path / "open").stat().st_mode
    make_private(tmp_path / "open")
    make_private(tmp_path / "open/own")
    assert (tmp_path / "open").stat().st_mode == before
    assert (tmp_path / "open/own").stat().st_mode & 0o777 == 0o700
