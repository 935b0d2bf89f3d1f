"""Many processes, and a database that is killed under them: nothing fails, nothing is lost, nothing is twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

import lyftlearn
from lyftlearn.history.store import History
from lyftlearn.history.tables import details, jobs
from tests.doubles.postgres import Postgres

SUBMITS = """
import json, sys, time
import lyftlearn, lyftlearn.history.recorder
lyftlearn.history.recorder._SECONDS_TO_WAIT = 0.2
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
for number in range(int(sys.argv[2])):
    print(client.train("eta", command="true").id, flush=True)
    time.sleep(0.05)
"""


def submitted_at_once(url: str, home: Path, processes: int, each: int, disturb: object = None) -> set[str]:
    """Let processes submit at once, and return the ids of all jobs."""
    config = {"home": str(home), "backend": "old", "history": {"url": url}}
    command = [sys.executable, "-c", SUBMITS, json.dumps(config), str(each)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(processes)
    ]
    if callable(disturb):
        disturb()
    told = [process.communicate(timeout=280)[0].split() for process in running]
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


def test_a_few_processes_and_one_file(plugins: Path) -> None:
    """The same in a small way, on SQLite, with every test run."""
    url = f"sqlite:///{plugins / 'shared.sqlite'}"
    wanted = submitted_at_once(url, plugins, processes=3, each=5)
    assert len(wanted) == 15
    check_all_there(url, plugins, wanted)
