"""The collector: it writes the ends of other people's jobs, alone or beside others, and says how it is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import lyftlearn
from lyftlearn import ops
from lyftlearn.errors import InvalidJob
from lyftlearn.history.tables import details, jobs
from lyftlearn.ops.collect import _serving, make_collector
from tests.doubles.old_and_new import Make
from tests.doubles.postgres import Postgres

RUNNING = {"status": "running"}


def statuses(client: lyftlearn.Client) -> dict[str, Any]:
    history = client._session.history.history()
    return {row["job_id"]: row["status"] for row in history.select(sa.select(jobs))}


def timings_of(client: lyftlearn.Client) -> dict[str, Any]:
    """Return the seconds of each phase of the jobs of which they are known."""
    query = sa.select(details.c.job_id, details.c.timings).where(details.c.timings.is_not(None))
    return {row["job_id"]: row["timings"] for row in client._session.history.history().select(query)}


def until_ended(collector: Any, count: int) -> None:
    for _ in range(200):
        collector.step()
        if collector.ended >= count:
            return
        collector._changed.wait(0.1)
    raise AssertionError("no end was written down")


def test_it_writes_ends_that_nobody_waited_for(make: Make) -> None:
    """The client has gone; the platform's word is written down as soon as it is spoken."""
    client = make("off", old=RUNNING)
    job = client.train("eta", command="true")
    collector = make_collector(make("off", old=RUNNING))
    collector.step()
    assert (collector.leads, collector.open_jobs, collector.ended) == (True, 1, 0)
    job.stop()
    until_ended(collector, 1)
    assert collector.open_jobs == 0
    assert statuses(client) == {job.id: "stopped"}
    assert list(timings_of(client)) == [job.id]
    collector.close()


def test_the_phases_of_a_job_that_somebody_waited_for_are_written_down(make: Make) -> None:
    """In the background: the platform may forget the job before anybody looks at its timeline."""
    client = make("off", old=RUNNING)
    job = client.train("eta", command="true")
    job.stop()
    job.wait(check=False)
    assert client._session.history.flush()
    assert set(timings_of(client)[job.id]) <= {"waiting", "starting", "running"}
    assert timings_of(client)[job.id]


def test_two_do_no_harm(make: Make) -> None:
    """One holds the lease, the other waits, and takes over when the first ends, however it ends."""
    job = make("off", old=RUNNING).train("eta", command="true")
    first, second = (make_collector(make("off", old=RUNNING)) for _ in range(2))
    first.step()
    second.step()
    assert (first.leads, second.leads, second.open_jobs) == (True, False, 0)
    first.close()
    second.step()
    assert (second.leads, second.open_jobs) == (True, 1)
    second._recorder.open().hold("collector", second.holder, -1)  # as if it had died a minute ago
    first.step()
    second.step()
    assert (first.leads, second.leads, second.open_jobs) == (True, False, 0)
    job.stop()
    until_ended(first, 1)
    first.close()


def test_it_enters_jobs_that_no_client_could(plugins: Path, make: Make) -> None:
    """A container that submits and ends takes its file along; the backend has the job all the same."""
    job = make("off", old=RUNNING).train("eta", command="true", labels={"team": "maps"})
    for path in plugins.glob("spool/*/*"):
        path.unlink()
    client = make("off", old=RUNNING)
    collector = make_collector(client)
    collector.step()
    assert (collector.adopted, collector.open_jobs) == (1, 1)
    assert statuses(client) == {job.id: None}
    collector.close()


def test_a_job_that_is_gone_has_no_known_end(plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deleted it: it is not followed for ever, and not taken for a success."""
    monkeypatch.setattr("lyftlearn.history.settle._VISIBLE_AFTER", timedelta())
    client = make("off", old=RUNNING)
    job = client.train("eta", command="true")
    collector = make_collector(make("off", old=RUNNING))
    collector.step()
    (plugins / "old" / job.id).unlink()
    until_ended(collector, 1)
    assert statuses(client) == {job.id: "unknown"}
    collector.close()


def test_a_job_on_another_machine_is_not_taken_for_gone(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared history, only who has its files knows a local job: neither a collector nor a report ends it."""
    monkeypatch.setattr("lyftlearn.history.settle._VISIBLE_AFTER", timedelta())
    shared = {"backend": "local", "history": {"url": postgres.url}}
    mine, theirs = (lyftlearn.Client(config={"home": str(tmp_path / name), **shared}) for name in ("mine", "theirs"))
    job = mine.process("eta", command=["sleep", "300"])
    assert statuses(mine) == {job.id: None}
    ops.cost(client=theirs)
    collector = make_collector(theirs)
    for _ in range(5):
        collector.step()
        collector._changed.wait(0.3)
    collector.close()
    assert statuses(theirs) == {job.id: None}
    job.stop(wait=True)
    assert statuses(mine) == {job.id: "stopped"}


def test_a_history_that_is_away_ends_nothing(plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that restarts at night finds its collector in the morning, which was not well meanwhile."""
    monkeypatch.setattr("lyftlearn.history.collector._PACE", 0.05)
    path = plugins / "history.sqlite"
    path.mkdir(parents=True)
    collector, stopped = make_collector(make("off", old=RUNNING)), threading.Event()
    running = threading.Thread(target=collector.run, args=(stopped,))
    running.start()
    try:
        for _ in range(600):
            if collector.errors:
                break
            stopped.wait(0.1)
        assert collector.looked_at is None
        path.rmdir()
        for _ in range(600):
            if collector.is_healthy:
                break
            stopped.wait(0.1)
        assert collector.is_healthy
    finally:
        stopped.set()
        collector.wake()
        running.join(600)


def test_it_says_how_it_is(make: Make) -> None:
    """A cluster asks by HTTP whether it is well, and Prometheus for its figures."""
    collector = make_collector(make("off", old=RUNNING))
    with _serving(collector, "127.0.0.1:0") as had:
        address = f"http://{had}"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{address}/healthz")
        collector.step()
        with urllib.request.urlopen(f"{address}/healthz") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            text = answer.read().decode()
    assert "# TYPE lyftlearn_collector_open_jobs gauge\nlyftlearn_collector_open_jobs 0\n" in text
    assert "lyftlearn_collector_leads 1\n" in text
    collector.close()


def test_an_address_that_cannot_be_had(make: Make) -> None:
    """A port that is no number is a word, and no traceback."""
    with pytest.raises(InvalidJob, match="listen"):
        ops.collect("127.0.0.1:http", client=make("off"))


def test_the_command_ends_in_order(plugins: Path, make: Make) -> None:
    """A cluster ends it with SIGTERM: it lets go of the lease, so that the next need not wait."""
    plugins.mkdir(exist_ok=True)
    (plugins / "lyftlearn.toml").write_text(f'home = "{plugins}"\nbackend = "old"\n')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "lyftlearn", "collect", "--listen", address]
    running = subprocess.Popen(command, cwd=plugins, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{address}/healthz")
                break
            except OSError:
                threading.Event().wait(0.1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(600) == 0
    finally:
        running.kill()
        told = running.communicate()[1]
    assert "0 ends were written down" in told
    collector = make_collector(make("off"))
    collector.step()
    assert collector.leads
    collector.close()
