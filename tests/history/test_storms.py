"""Many processes, and a database that is killed under them: nothing fails, nothing is lost, nothing is twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

import lyftlearn
from lyftlearn.history.store import History
from lyftlearn.history.tables import details, jobs
from tests.doubles.postgres import Postgres, running_postgres, small_disk

SUBMITS = """
import json, os, sys, time
import lyftlearn, lyftlearn.history.recorder
lyftlearn.history.recorder._SECONDS_TO_WAIT = 0.2
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
for number in range(int(sys.argv[2])):
    print(client.train("eta", command="true").id, flush=True)
    time.sleep(0.05)
while sys.argv[3:] and not os.path.exists(sys.argv[3]):
    print(client.train("eta", command="true").id, flush=True)
    time.sleep(0.2)
"""


def submitted_at_once(
    url: str, home: Path, *, processes: int, each: int, disturb: object = None, until: Path | None = None
) -> set[str]:
    """Let processes submit at once, until a file is there if one is named, and return the ids of all jobs."""
    config = {"home": str(home), "backend": "old", "history": {"url": url}}
    command = [sys.executable, "-c", SUBMITS, json.dumps(config), str(each), *([str(until)] if until else [])]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(processes)
    ]
    if callable(disturb):
        disturb()
    told = [process.communicate(timeout=600)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * processes
    return {job_id for ids in told for job_id in ids}


def check_all_there(url: str, home: Path, wanted: set[str]) -> None:
    """Read the history as a command does, and hold it to what was submitted."""
    client = lyftlearn.Client(config={"home": str(home), "backend": "old", "history": {"url": url}})
    history: History = client._session.history.history()
    assert {row["job_id"] for row in history.select(sa.select(jobs.c.job_id))} == wanted
    assert {row["job_id"] for row in history.select(sa.select(details.c.job_id))} == wanted
    assert {row["status"] for row in history.select(sa.select(jobs.c.status))} == {"succeeded"}
    assert not list(home.glob("spool/*/*.jsonl"))


@pytest.mark.slow
def test_twenty_processes_and_a_database_that_is_killed(plugins: Path, postgres: Postgres) -> None:
    """No submission fails while the server is away; what could not be written is written when it is back, once."""

    def kill_and_start() -> None:
        time.sleep(3)
        postgres.kill()
        time.sleep(3)
        postgres.start()

    wanted = submitted_at_once(postgres.url, plugins, processes=20, each=10, disturb=kill_and_start)
    assert len(wanted) == 200
    check_all_there(postgres.url, plugins, wanted)


@pytest.mark.slow
def test_a_database_whose_disk_is_full(plugins: Path) -> None:
    """The server refuses each write, or dies of one. No submission fails, and the lines wait until there is room."""
    with small_disk(96) as disk, running_postgres(disk) as server:
        ballast, enough = disk / "ballast", plugins.parent / "enough"

        def fill_and_free() -> None:
            wait_until(lambda: is_any_written(server.url, plugins))
            with suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 12))
                    file.flush()
            wait_until(lambda: "No space left on device" in server.log())
            time.sleep(3)
            ballast.unlink()
            server.end()  # as somebody does who has made room: it may have ended by itself
            server.start()
            enough.touch()

        wanted = submitted_at_once(server.url, plugins, processes=5, each=10, disturb=fill_and_free, until=enough)
        assert len(wanted) > 50
        check_all_there(server.url, plugins, wanted)


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that in two minutes")


def is_any_written(url: str, home: Path) -> bool:
    client = lyftlearn.Client(config={"home": str(home), "backend": "old", "history": {"url": url}})
    with suppress(sa.exc.SQLAlchemyError):
        return bool(client._session.history.open().select(sa.select(jobs.c.job_id).limit(1)))
    return False


def test_a_few_processes_and_one_file(plugins: Path) -> None:
    """The same in a small way, on SQLite, with every test run."""
    url = f"sqlite:///{plugins / 'shared.sqlite'}"
    wanted = submitted_at_once(url, plugins, processes=3, each=5)
    assert len(wanted) == 15
    check_all_there(url, plugins, wanted)
