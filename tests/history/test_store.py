"""The history: many writers, no writers, and everything that may be wrong with where it is."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from lyftlearn import Client, config, ops
from lyftlearn.errors import BackendUnavailable
from lyftlearn.history.rows import OutcomeRow, RehearsalRow, SubmissionRow
from lyftlearn.history.store import History, open_history
from lyftlearn.history.tables import details, jobs, problems, slots
from lyftlearn.rollout import Decision
from tests.doubles.old_and_new import Make
from tests.doubles.postgres import Postgres

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


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


def ids(history: History) -> list[str]:
    return sorted(row["job_id"] for row in history.select(sa.select(jobs.c.job_id)))


def ended(job_id: str, **values: object) -> OutcomeRow:
    plain = OutcomeRow(
        job_id=job_id, status="failed", reason="user-error", exit_code=3, created_at=NOW, started_at=NOW,
        finished_at=NOW, message="no", attempt=1,
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type]


UNFIT = [
    (submitted("bad"), ended("bad", exit_code=10**30)),
    (submitted("bad"), ended("bad", attempt=10**30)),
    (submitted("bad"), ended("bad", message="half of \udcff")),
    (replace(submitted("bad"), repository="/home/jos\udce9"),),
    (replace(submitted("bad"), nodes=2**70),),
    (replace(submitted("bad"), model=None),),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("bad", UNFIT, ids=range(len(UNFIT)))
def test_a_row_that_no_database_holds_keeps_no_other_out(
    tmp_path: Path, bad: tuple[SubmissionRow | OutcomeRow, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A program may print any number as its end, and a directory have any name; all that came later waited for ever."""
    history = History(f"sqlite:///{tmp_path}/h.sqlite")
    history.record_all([submitted("before"), *bad, ended("before"), submitted("after")])
    assert {"before", "after"} <= set(ids(history))
    (status,) = history.select(sa.select(jobs.c.status).where(jobs.c.job_id == "before"))
    assert status["status"] == "failed"
    assert "the history cannot hold the " in caplog.text
    assert "'bad'" in caplog.text


WRITER = """
import sys
from datetime import UTC, datetime
from lyftlearn.history.store import History
from lyftlearn.history.rows import RehearsalRow, SubmissionRow
history = History(sys.argv[1])
for number in range(int(sys.argv[3])):
    for job_id in (f"{sys.argv[2]}-{number}", f"shared-{number}"):
        history.record(
            SubmissionRow(job_id=job_id, at=datetime.now(UTC), repository="r", model="m", kind="train", stage="off",
                      source="s", backend="old", fell_back=False),
            RehearsalRow(job_id=job_id, backend="new", faults=[("image", "is missing")]),
        )
    shadow = SubmissionRow(
        job_id=f"{sys.argv[2]}-shadow-{number}", at=datetime.now(UTC), repository="r", model="m", kind="train",
        stage="shadow", source="s", backend="new", fell_back=False, shadow_of=f"{sys.argv[2]}-{number}",
    )
    history.record_in_slot(shadow, 3)
"""


def written_at_once(url: str, processes: int, each: int) -> None:
    """Let processes write at once: records of their own, records that all write, and slots that all want."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, f"writer{number}", str(each)])
        for number in range(processes)
    ]
    assert [writer.wait(timeout=600) for writer in writers] == [0] * processes
    history = History(url)
    assert len(ids(history)) == (processes + 1) * each + 3
    assert len(history.select(sa.select(problems))) == (processes + 1) * each
    assert len(history.select(sa.select(slots))) == 3


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    """Every submission of a fleet writes here: nothing is lost, nothing is doubled, no slot is taken twice."""
    written_at_once(f"sqlite:///{tmp_path / 'history.sqlite'}", processes=4, each=10)


@pytest.mark.slow
def test_a_shared_postgresql(postgres: Postgres, make: Make) -> None:
    """A platform keeps one history for all: the same promises hold there, and a report reads it."""
    written_at_once(postgres.url, processes=4, each=10)
    client = make("rehearse", new={"refuses_plans": True}, journal=postgres.url)
    client.train("eta", command="true")
    (found,) = [of for of in ops.migration_report(client=client).models if of.model == "eta"]
    assert (found.rehearsed, found.would_have_run) == (1, 0)


def test_of_two_entries_about_a_job_the_first_stays(tmp_path: Path) -> None:
    """A keyed call is repeated for months: the history tells when and where its job was really submitted."""
    history = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    history.record(submitted("one"))
    history.record(submitted("one", NOW + timedelta(days=30)), submitted("two"))
    rows = history.select(sa.select(jobs).order_by(jobs.c.job_id))
    assert [(row["job_id"], row["at"]) for row in rows] == [("one", NOW), ("two", NOW)]


@pytest.mark.parametrize("name", ["a?b", "100%", "a%20b", "a%3Fb", "run#1", "jos\N{LATIN SMALL LETTER E WITH ACUTE} x"])
def test_homes_of_any_name(tmp_path: Path, name: str) -> None:
    """Two homes never share a history, and nothing is written beside them."""
    home = config.load({"home": str(tmp_path / name)})
    with open_history(home).connection():
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name / "history.sqlite").is_file()


def test_times_are_kept_in_utc(tmp_path: Path) -> None:
    """Writers are in all time zones; a window of a report means the same moment to each."""
    history = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    history.record(submitted("one", NOW.astimezone(timezone(timedelta(hours=-8)))))
    assert history.select(sa.select(jobs.c.at)) == [{"at": NOW}]


def unwritable(home: Path) -> str:
    (home / "file").write_text("in the way")
    return f"sqlite:///{home}/file/history.sqlite"


def read_only(home: Path) -> str:
    path = home / "kept.sqlite"
    History(f"sqlite:///{path}").record(submitted("one"))
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
    "no URL": lambda _: "history",
}


@pytest.mark.parametrize("url", ["postgresql://u:pass@h:port/x", "postgresql://u:pass@[::1/x", "history:pass"])
def test_an_address_that_is_none_says_what_to_write(url: str) -> None:
    """Numbers that are none are Python's words, and no person's."""
    with pytest.raises(ValueError, match="write sqlite:///<path> or postgresql://") as refused:
        History(url)
    assert "pass" not in str(refused.value)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_history_in_trouble_costs_no_submission(
    plugins: Path, make: Make, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """A migration's record is never worth a job: submissions go on, and the log says once what is wrong."""
    plugins.mkdir(exist_ok=True)
    client = make("rehearse", journal=TROUBLES[trouble](plugins))
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        jobs = [client.train("eta", command="true") for _ in range(3)]
        assert client._session.recorder.drain(120)
    assert [job.status for job in jobs] == ["succeeded"] * 3
    assert len([line for line in caplog.messages if "beside a submission" in line]) == 1


FULL = """
import json, logging, resource, sys
import lyftlearn, lyftlearn.history.background
logging.basicConfig(stream=sys.stdout)
lyftlearn.history.background._SECONDS_TO_FINISH = 120.0
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
print([str(client.train("eta", command="true").status) for _ in range(3)])
client._session.recorder.drain(120)
"""


def test_a_full_disk_costs_no_submission(plugins: Path) -> None:
    """No file may grow over 4 KiB here, which a history must and these jobs need not."""
    config = {"home": str(plugins), "migration": {"from": "old", "to": "new", "stage": "rehearse"}}
    ran = subprocess.run(
        [sys.executable, "-c", FULL, json.dumps(config)], capture_output=True, text=True, timeout=600, check=True
    )
    assert "['succeeded', 'succeeded', 'succeeded']" in ran.stdout
    assert "beside a submission: OperationalError" in ran.stdout


def test_a_report_says_why_there_is_none(plugins: Path, make: Make) -> None:
    """Whoever asks for it, unlike whoever submits, must hear that it is broken."""
    plugins.mkdir(exist_ok=True)
    with pytest.raises(BackendUnavailable, match="history of jobs"):
        ops.migration_report(client=make("rehearse", journal=broken(plugins)))


def test_a_locked_history_does_not_hold_up_a_submission(plugins: Path, make: Make) -> None:
    """Somebody's long transaction is waited for in the background, and the records come when it ends."""
    client = make("off")
    client.train("eta", command="true")
    history = client._session.history.history()
    lock = sqlite3.connect(plugins / "history.sqlite", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    client.train("eta", command="true")
    writing = threading.Thread(target=client._session.history.flush)
    writing.start()
    writing.join(0.2)
    assert writing.is_alive()
    lock.execute("ROLLBACK")
    lock.close()
    writing.join(600)
    assert len(ids(history)) == 2


def test_clocks_that_differ_make_no_negative_times(tmp_path: Path) -> None:
    """A job that started before it was created has a start-up time that nobody knows, and is counted all the same."""
    client = Client(config={"home": str(tmp_path), "migration": {"from": "old", "to": "new"}})
    history = client._session.history.history()
    for job_id, skew in (("ahead", -90), ("right", 20)):
        start = NOW + timedelta(seconds=skew)
        history.record(
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
    history = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    faults = [("env.GRÜSSE", "'a\"b' → nein:\nlassen")]
    history.record(submitted("one"), RehearsalRow(job_id="one", backend="new", faults=faults))
    (row,) = history.select(sa.select(problems))
    assert [(row["path"], row["problem"])] == faults


def test_a_submission_knows_what_was_asked_where_it_goes(make: Make) -> None:
    """The job itself has no room for it; whoever looks back reads what `explain` said, in its order."""
    client = make("rehearse")
    job = client.train("eta", command="true")
    history = client._session.history.history()
    [row] = history.select(sa.select(details.c.decision).where(details.c.job_id == job.id))
    decision = Decision.from_json(row["decision"])
    explained = ops.explain("train", "eta", client=client)
    assert decision is not None
    assert decision.sources == explained.sources
    assert len(decision.sources) > 1
    assert Decision.from_json(job._record.decision) == replace(decision, sources=())
