"""Rows that are not in the journal yet: kept on disk, and written by whoever writes next."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lyftlearn._migration.rows import Row
from tests.doubles.old_and_new import Make
from tests.migration.test_journal import ids, submitted


def left_behind(home: Path) -> list[Path]:
    return sorted(home.glob("spool/*/*"))


DIES = """
import json, os, sys, threading
import lyftlearn
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
client._session.recorder._follow_up = lambda accepted: threading.Event().wait()
print(client.train("eta", command="true").id, flush=True)
os._exit(9)
"""


def test_a_row_outlives_its_process(plugins: Path, make: Make) -> None:
    """A process that is killed right after a submission takes no row of the journal with it: the next one writes it."""
    config = {"home": str(plugins), "project": "tests", "migration": {"from": "old", "to": "new", "stage": "off"}}
    argv = [sys.executable, "-c", DIES, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 9, ran.stderr
    assert len(left_behind(plugins)) == 1
    journal = make("off")._session.recorder.journal()
    assert ids(journal) == [ran.stdout.strip()]
    assert left_behind(plugins) == []


def test_rows_of_an_hour_without_a_journal(plugins: Path, make: Make) -> None:
    """A journal that was away has every row soon after it is back, written by whoever submits next."""
    client = make("off")
    client.train("eta", command="true")
    assert client._session.recorder.drain()
    path = plugins / "journal.sqlite"
    path.rename(plugins / "away")
    path.mkdir()
    ids_before = {client.train("eta", command="true").id for _ in range(2)}
    assert client._session.recorder.drain()
    assert len(left_behind(plugins)) == 2
    path.rmdir()
    (plugins / "away").rename(path)
    for waiting in left_behind(plugins):
        os.utime(waiting, (0, 0))
    client.train("eta", command="true")
    assert client._session.recorder.drain()
    assert left_behind(plugins) == []
    assert ids_before < set(ids(client._session.recorder._open_journal()))


def test_what_waits_for_the_journal_is_damaged(plugins: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A file that a crash or a person left there is named once, and holds up no row of others."""
    client = make("off")
    spool = client._session.recorder._open_spool()
    spool.put("eta-good", [submitted("eta-good")])
    directory = left_behind(plugins)[0].parent
    for number, text in enumerate(
        ("", "{", "[1]", '[{"row": "dance", "fields": {}}]', '[{"row": "submission", "fields": {"at": "x"}}]', "\\0")
    ):
        (directory / f"eta-bad{number}.json").write_text(text)
    (directory / ".0123.tmp").write_text("[")
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        assert ids(client._session.recorder.journal()) == ["eta-good"]
    assert caplog.text.count("cannot be read, and is removed") == 6
    assert left_behind(plugins) == []


def test_two_processes_take_up_the_same_row(plugins: Path, make: Make) -> None:
    """Nobody has to know who else is about to write a row."""
    first, second = (make("off")._session.recorder for _ in range(2))
    spool, again = first._open_spool(), second._open_spool()
    spool.put("eta-a", [submitted("eta-a")])

    def record(*rows: Row) -> None:
        again.take_up(second._open_journal().record, older=0)
        first._open_journal().record(*rows)

    spool.take_up(record, older=0)
    assert ids(first._open_journal()) == ["eta-a"]


FORKS = """
import importlib.abc, json, os, sys, threading, time
import lyftlearn, lyftlearn._migration.background

lyftlearn._migration.background._SECONDS_UNTIL_FORK = 120.0  # as long as a busy machine needs
begun = threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "sqlalchemy.orm" or name == "sqlalchemy.engine":
            begun.set()
            time.sleep(1)
        return None

sys.meta_path.insert(0, Slow())
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
client.train("eta", command="true")
assert begun.wait(60)
child = os.fork()
if child == 0:
    client.train("eta", command="true")
    os._exit(0 if client._session.recorder._background.drain(120) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_while_the_journals_library_is_loaded(plugins: Path, make: Make) -> None:
    """A child that is forked in that moment could never import it, and none of its rows would be written."""
    config = {"home": str(plugins), "project": "tests", "migration": {"from": "old", "to": "new", "stage": "off"}}
    argv = [sys.executable, "-W", "ignore", "-c", FORKS, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    assert left_behind(plugins) == []
    assert len(ids(make("off")._session.recorder.journal())) == 2
