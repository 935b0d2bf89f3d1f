"""Rows that are not in the history yet: kept on disk, and written by whoever has time."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn.history.spool import Entry, Spool
from tests.doubles.old_and_new import Make
from tests.history.test_store import ids


def left_behind(home: Path) -> list[Path]:
    return sorted(home.glob("spool/*/*"))


def spool(home: Path) -> Spool:
    return Spool(home, "sqlite:///x", lambda: {"project": "tests"})


def taken(spool: Spool) -> list[Entry]:
    entries: list[Entry] = []
    spool.take_up(entries.extend)
    return entries


DIES = """
import json, os, sys
import lyftlearn
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
print(client.train("eta", command="true").id, flush=True)
assert "sqlalchemy" not in sys.modules
os._exit(9)
"""


def test_a_row_outlives_its_process(plugins: Path, make: Make) -> None:
    """A process that is killed right after a submission takes no row along, and has loaded no database for it."""
    config = {"home": str(plugins), "project": "tests", "migration": {"from": "old", "to": "new", "stage": "off"}}
    argv = [sys.executable, "-c", DIES, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 9, ran.stderr
    assert len(left_behind(plugins)) == 1
    assert ids(make("off")._session.history.history()) == [ran.stdout.strip()]
    assert left_behind(plugins) == []


ENDS = """
import atexit, json, sys
import lyftlearn
atexit.register(lambda: print("sqlalchemy" in sys.modules))
lyftlearn.Client(config=json.loads(sys.argv[1])).train("eta", command="true")
"""


@pytest.mark.parametrize("stage", ["off", "rehearse", "live"])
def test_a_script_in_a_migration_ends_without_a_database(plugins: Path, stage: str) -> None:
    """What is beside its submission is done before it ends, and an import of SQLAlchemy would be most of the wait."""
    config = {"home": str(plugins), "migration": {"from": "old", "to": "new", "stage": stage}}
    argv = [sys.executable, "-c", ENDS, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)
    assert ran.stdout == "False\n"
    rows = [json.loads(line) for path in left_behind(plugins) for line in path.read_text().splitlines()[1:]]
    assert len(rows) == (3 if stage == "rehearse" else 2)


def test_rows_of_an_hour_without_a_history(plugins: Path, make: Make) -> None:
    """A history that was away has every row soon after it is back, written by whoever has time."""
    client = make("off")
    path = plugins / "history.sqlite"
    path.mkdir(parents=True)
    before = {client.train("eta", command="true").id for _ in range(2)}
    assert not client._session.history.flush()
    assert left_behind(plugins)
    path.rmdir()
    last = client.train("eta", command="true").id
    assert client._session.history.flush()
    assert left_behind(plugins) == []
    assert set(ids(client._session.history.open())) == {*before, last}


def test_what_waits_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line that a crash or a person damaged is named, and holds up no line of others."""
    writer = spool(tmp_path)
    writer.append({"is": "good"})
    (path,) = left_behind(tmp_path)
    (path.parent / "0.jsonl").write_bytes(b'{"project": "p"}\n{\n[1]\n\0\n{"is": "older"}\n{"is": "cut off')
    (path.parent / "1.jsonl").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        assert taken(spool(tmp_path)) == [({"project": "p"}, {"is": "older"}), ({"project": "tests"}, {"is": "good"})]
    assert caplog.text.count("cannot be read") == 3
    assert left_behind(tmp_path) == [path]


def test_a_living_process_keeps_its_file(tmp_path: Path) -> None:
    """Whoever reads shows what others wait with, and leaves it to them: they are about to append to it."""
    writer, reader = spool(tmp_path), spool(tmp_path)
    writer.append({"is": "one"})
    assert [line["is"] for _, line in taken(reader)] == ["one"]
    writer.append({"is": "two"})
    assert [line["is"] for _, line in taken(reader)] == ["one", "two"]
    assert [line["is"] for _, line in taken(writer)] == ["one", "two"]
    assert left_behind(tmp_path) == []


def test_what_cannot_be_written_waits(tmp_path: Path) -> None:
    """A database that breaks in the middle leaves the file where it is."""
    writer = spool(tmp_path)
    writer.append({"is": "one"})

    def breaks(_: object) -> None:
        raise OSError("away")

    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            writer.take_up(breaks)
    assert [line["is"] for _, line in taken(writer)] == ["one"]


def test_without_a_directory_memory_keeps_it(tmp_path: Path) -> None:
    """A home that cannot be written costs no submission, and a history elsewhere gets the row all the same."""
    (tmp_path / "spool").write_text("in the way")
    writer = spool(tmp_path)
    writer.append({"is": "one"})
    assert not writer.is_empty
    assert taken(writer) == [({"project": "tests"}, {"is": "one"})]
    assert writer.is_empty


FORKS = """
import importlib.abc, json, os, sys, threading, time
import lyftlearn, lyftlearn.history.background

lyftlearn.history.background._SECONDS_UNTIL_FORK = 120.0  # as long as a busy machine needs
begun = threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "sqlalchemy.orm" or name == "sqlalchemy.engine":
            begun.set()
            time.sleep(1)
        return None

sys.meta_path.insert(0, Slow())
sys.executable = ""  # as in an application with Python inside, which writes its history itself
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
client.train("eta", command="true")
threading.Thread(target=client._session.history.flush).start()
assert begun.wait(600)
child = os.fork()
if child == 0:
    client.train("eta", command="true")
    os._exit(0 if client._session.history.flush() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_while_the_library_is_loaded(plugins: Path, make: Make) -> None:
    """A child that is forked in that moment could never import it, and none of its rows would be written."""
    config = {"home": str(plugins), "project": "tests", "migration": {"from": "old", "to": "new", "stage": "off"}}
    argv = [sys.executable, "-W", "ignore", "-c", FORKS, json.dumps(config)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(ids(make("off")._session.history.history())) == 2
    assert left_behind(plugins) == []


FOLLOWS = """
import json, sys, time
import lyftlearn, lyftlearn.history.recorder
lyftlearn.history.recorder._SECONDS_TO_WAIT = 0.1
sys.executable = sys.argv[2]
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
print(client.train("eta", command="true").id, flush=True)
sys.stdin.read()
print("sqlalchemy" in sys.modules)
"""


def written_while_it_follows(home: Path, client: lyftlearn.Client, interpreter: str) -> str:
    """Hold the history to what a process told that goes on, and return whether that has SQLAlchemy."""
    argv = [sys.executable, "-c", FOLLOWS, json.dumps({"home": str(home), "backend": "old"}), interpreter]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        job_id = process.stdout.readline().strip()
        until = time.monotonic() + 600
        while (left_behind(home) or not (home / "history.sqlite").exists()) and time.monotonic() < until:
            time.sleep(0.05)
        assert ids(client._session.history.open()) == [job_id]
        return process.communicate()[0].strip()


def test_a_process_that_follows_jobs_loads_no_database(plugins: Path, make: Make) -> None:
    """SQLAlchemy would be a third of its memory: another process writes what it tells, while it goes on."""
    assert written_while_it_follows(plugins, make("off"), sys.executable) == "False"


@pytest.mark.parametrize("interpreter", ["application", "python-missing", "python-broken"])
def test_a_process_that_can_start_no_other_writes_itself(plugins: Path, make: Make, interpreter: str) -> None:
    """An application with Python inside, a limit of processes, or another interpreter must cost no line."""
    broken = plugins / "python-broken"
    plugins.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    assert written_while_it_follows(plugins, make("off"), str(plugins / interpreter)) == "True"
