"""The journal: many writers, no writers, and everything that may be wrong with where it is."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from lyftlearn import Client, ops
from lyftlearn._migration.background import Background
from lyftlearn._migration.journal import Journal, submissions
from lyftlearn._migration.rows import OutcomeRow, RehearsalRow, SubmissionRow
from lyftlearn.errors import BackendUnavailable
from tests.doubles.old_and_new import Make

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
POSTGRES = Path("/usr/lib/postgresql")


def submitted(job_id: str, at: datetime = NOW, model: str = "eta") -> SubmissionRow:
    return SubmissionRow(
        job_id=job_id,
        at=at,
        repository="rides/eta",
        model=model,
        kind="train",
        stage="rehearse",
        source="flag",
        backend="old",
        fell_back=False,
    )


def ids(journal: Journal) -> list[str]:
    return sorted(row["job_id"] for row in journal.select(sa.select(submissions.c.job_id)))


WRITER = """
import sys
from datetime import UTC, datetime
from lyftlearn._migration.journal import Journal
from lyftlearn._migration.rows import RehearsalRow, SubmissionRow
journal = Journal(sys.argv[1])
for number in range(int(sys.argv[3])):
    for job_id in (f"{sys.argv[2]}-{number}", f"shared-{number}"):
        journal.record(
            SubmissionRow(job_id=job_id, at=datetime.now(UTC), repository="r", model="m", kind="train", stage="off",
                      source="s", backend="old", fell_back=False),
            RehearsalRow(job_id=job_id, backend="new", faults=[("image", "is missing")]),
        )
    shadow = SubmissionRow(
        job_id=f"{sys.argv[2]}-shadow-{number}", at=datetime.now(UTC), repository="r", model="m", kind="train",
        stage="shadow", source="s", backend="new", fell_back=False, shadow_of=f"{sys.argv[2]}-{number}",
    )
    journal.record_in_slot(shadow, 3)
"""


def written_at_once(url: str, processes: int, each: int) -> None:
    """Let processes write at once: records of their own, records that all write, and slots that all want."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, f"writer{number}", str(each)])
        for number in range(processes)
    ]
    assert [writer.wait(timeout=240) for writer in writers] == [0] * processes
    journal = Journal(url)
    assert len(ids(journal)) == (processes + 1) * each + 3
    assert len(journal.select(sa.select(sa.text("*")).select_from(sa.text("rehearsals")))) == (processes + 1) * each
    assert len(journal.select(sa.select(sa.text("*")).select_from(sa.text("slots")))) == 3


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    """Every submission of a fleet writes here: nothing is lost, nothing is doubled, no slot is taken twice."""
    written_at_once(f"sqlite:///{tmp_path / 'journal.sqlite'}", processes=4, each=10)


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL of this test on a socket of its own."""
    pytest.importorskip("psycopg")
    found = sorted(POSTGRES.glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    programs = found[-1].parent
    as_postgres: list[str] = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        home = Path(directory)
        if as_postgres:
            subprocess.run(["chown", "postgres", home], check=True)
        data = ["-D", str(home / "data")]
        _run(home, *as_postgres, programs / "initdb", *data, "-U", "lyftlearn", "-A", "trust")
        options = f"-k {home} -c listen_addresses= -c fsync=off"
        control: tuple[str | Path, ...] = (*as_postgres, programs / "pg_ctl", *data)
        _run(home, *control, "-w", "-o", options, "-l", home / "log", "start")
        try:
            yield f"postgresql+psycopg://lyftlearn@/postgres?host={home}"
        finally:
            _run(home, *control, "-m", "immediate", "stop")


def _run(directory: Path, *command: str | Path) -> None:
    subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, timeout=120, check=True)


@pytest.mark.slow
def test_a_shared_postgresql(postgres: str, make: Make) -> None:
    """A platform keeps one journal for all: the same promises hold there, and a report reads it."""
    written_at_once(postgres, processes=4, each=10)
    client = make("rehearse", new={"refuses_plans": True}, journal=postgres)
    client.train("eta", command="true")
    (found,) = [of for of in ops.migration_report(client=client).models if of.model == "eta"]
    assert (found.rehearsed, found.would_have_run) == (1, 0)


def test_of_two_entries_about_a_job_the_first_stays(tmp_path: Path) -> None:
    """A keyed call is repeated for months: the journal tells when and where its job was really submitted."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    journal.record(submitted("one"))
    journal.record(submitted("one", NOW + timedelta(days=30)), submitted("two"))
    rows = journal.select(sa.select(submissions).order_by(submissions.c.job_id))
    assert [(row["job_id"], row["at"]) for row in rows] == [("one", NOW), ("two", NOW)]


def test_times_are_kept_in_utc(tmp_path: Path) -> None:
    """Writers are in all time zones; a window of a report means the same moment to each."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    journal.record(submitted("one", NOW.astimezone(timezone(timedelta(hours=-8)))))
    assert journal.select(sa.select(submissions.c.at)) == [{"at": NOW}]


def unwritable(home: Path) -> str:
    (home / "file").write_text("in the way")
    return f"sqlite:///{home}/file/journal.sqlite"


def read_only(home: Path) -> str:
    path = home / "kept.sqlite"
    Journal(f"sqlite:///{path}").record(submitted("one"))
    return f"sqlite:///file:{path}?mode=ro&uri=true"


def broken(home: Path) -> str:
    path = home / "broken.sqlite"
    path.write_bytes(b"no database at all " * 1000)
    return f"sqlite:///{path}"


TROUBLES: dict[str, Callable[[Path], str]] = {
    "unwritable": unwritable,
    "read-only": read_only,
    "broken": broken,
    "nobody there": lambda _: "postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2",
    "no such driver": lambda _: "oracle://nobody@127.0.0.1/none",
    "no URL": lambda _: "journal",
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_journal_in_trouble_costs_no_submission(
    plugins: Path, make: Make, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """A migration's record is never worth a job: submissions go on, and the log says once what is wrong."""
    plugins.mkdir(exist_ok=True)
    client = make("rehearse", journal=TROUBLES[trouble](plugins))
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        jobs = [client.train("eta", command="true") for _ in range(3)]
        assert client._session.recorder.drain()
    assert [job.status for job in jobs] == ["succeeded"] * 3
    assert len([line for line in caplog.messages if "beside a submission" in line]) == 1


FULL = """
import json, logging, resource, sys
import lyftlearn, lyftlearn._migration.background
logging.basicConfig(stream=sys.stdout)
lyftlearn._migration.background._SECONDS_TO_FINISH = 120.0
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
print([str(client.train("eta", command="true").status) for _ in range(3)])
"""


def test_a_full_disk_costs_no_submission(plugins: Path) -> None:
    """No file may grow over 4 KiB here, which a journal must and these jobs need not."""
    config = {"home": str(plugins), "migration": {"from": "old", "to": "new", "stage": "rehearse"}}
    ran = subprocess.run(
        [sys.executable, "-c", FULL, json.dumps(config)], capture_output=True, text=True, timeout=240, check=True
    )
    assert "['succeeded', 'succeeded', 'succeeded']" in ran.stdout
    assert "beside a submission: OperationalError" in ran.stdout


def test_a_report_says_why_there_is_none(plugins: Path, make: Make) -> None:
    """Whoever asks for the journal, unlike whoever submits, must hear that it is broken."""
    plugins.mkdir(exist_ok=True)
    with pytest.raises(BackendUnavailable, match="journal of the migration"):
        ops.migration_report(client=make("rehearse", journal=broken(plugins)))


def test_a_locked_journal_does_not_hold_up_a_submission(plugins: Path, make: Make) -> None:
    """Somebody's long transaction is waited for in the background, and the records come when it ends."""
    path = plugins / "journal.sqlite"
    client = make("off")
    client.train("eta", command="true")
    assert client._session.recorder.drain()
    journal = client._session.recorder.journal()
    before = len(ids(journal))
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    client.train("eta", command="true")
    assert not client._session.recorder._background.drain(0.2)
    lock.execute("ROLLBACK")
    lock.close()
    assert client._session.recorder._background.drain(60)
    assert len(ids(journal)) == before + 1


def test_clocks_that_differ_make_no_negative_times(tmp_path: Path) -> None:
    """A job that started before it was created has a start-up time that nobody knows, and is counted all the same."""
    client = Client(config={"home": str(tmp_path), "migration": {"from": "old", "to": "new"}})
    journal = client._session.recorder.journal()
    for job_id, skew in (("ahead", -90), ("right", 20)):
        start = NOW + timedelta(seconds=skew)
        journal.record(
            submitted(job_id, datetime.now(UTC) + timedelta(days=1)),
            OutcomeRow(
                job_id=job_id,
                status="succeeded",
                reason=None,
                exit_code=0,
                created_at=NOW,
                started_at=start,
                finished_at=start + timedelta(minutes=1),
            ),
        )
    side = ops.migration_status(client=client).total.old
    assert (side.jobs, side.succeeded) == (2, 2)
    assert side.start_up is not None
    assert side.start_up.value == 20


def test_a_rehearsal_is_kept_as_it_was(tmp_path: Path) -> None:
    """Reasons are the user's words for what to change: quotes, other scripts and line ends come back unchanged."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    faults = [("env.GRÜSSE", "'a\"b' → nein:\nlassen")]
    journal.record(RehearsalRow(job_id="one", backend="new", faults=faults))
    (row,) = journal.select(sa.text("SELECT faults FROM rehearsals").columns(faults=sa.JSON))  # type: ignore[arg-type]
    assert [tuple(fault) for fault in row["faults"]] == faults


def test_a_forked_child_leaves_its_parents_work_alone() -> None:
    """Servers fork after they have submitted: a child that did the parent's work again would shadow twice."""
    background, done = Background(), os.pipe()
    gate_read, gate_write = os.pipe()
    background.do(lambda: os.read(gate_read, 1))  # type: ignore[arg-type]
    background.do(lambda: os.write(done[1], b"p"))  # type: ignore[arg-type]
    child = os.fork()
    if child == 0:
        background.do(lambda: os.write(done[1], b"c"))  # type: ignore[arg-type]
        os._exit(0 if background.drain(30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.write(gate_write, b"x")
    assert background.drain(30)
    assert os.read(done[0], 10) == b"cp"
    for end in (*done, gate_read, gate_write):
        os.close(end)


def test_a_full_queue_drops_and_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that hangs for an hour must not eat the memory of a service that submits all the time."""
    monkeypatch.setattr("lyftlearn._migration.background._MOST_WAITING", 2)
    background = Background()
    gate_read, gate_write = os.pipe()
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        for _ in range(5):
            background.do(lambda: os.read(gate_read, 1))  # type: ignore[arg-type]
    os.write(gate_write, b"x" * 5)
    assert background.drain(30)
    assert "dropped" in caplog.text
    os.close(gate_write)
    os.close(gate_read)
