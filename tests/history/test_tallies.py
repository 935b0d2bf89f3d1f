"""The tallies that the database keeps: what they count is what the jobs are, whoever wrote them, and how often."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from lyftlearn.history import schema
from lyftlearn.history.queries import Key, tally
from lyftlearn.history.rows import OutcomeRow, RehearsalRow, Row, SubmissionRow, UsageRow
from lyftlearn.history.store import History
from lyftlearn.history.tables import jobs, tallies
from lyftlearn.history.tallies import fold
from tests.doubles.postgres import Postgres

START = datetime(2026, 1, 30, 18, tzinfo=UTC)
BY: tuple[Key, ...] = ("team", "model", "backend", "is_shadow", "day")


def some_rows(chance: random.Random, count: int) -> list[Row]:
    """Rows of jobs over three days, in any order and doubled: some ends come first, some come as unknown, and late."""
    rows: list[Row] = []
    for number in range(count):
        job_id, at = f"job-{number}", START + timedelta(minutes=37 * number)
        team = chance.choice([None, "maps", "pricing"])
        common: dict[str, Any] = {
            "job_id": job_id,
            "at": at,
            "model": f"m{number % 3}",
            "kind": "train",
            "backend": "ab"[number % 2],
        }
        shadow_of = "job-0" if number % 7 == 1 else None
        rows += [
            SubmissionRow(**common),
            SubmissionRow(**common, team=team, nodes=number % 3 or None, shadow_of=shadow_of),
        ]
        told: dict[str, Any] = {"reason": chance.choice([None, "preempted", "image"]), "exit_code": 1, "created_at": at}
        ended: dict[str, Any] = {
            "started_at": at + timedelta(seconds=20),
            "finished_at": at + timedelta(seconds=20 + number),
        }
        unknown = OutcomeRow(
            job_id=job_id,
            status="unknown",
            reason=None,
            exit_code=None,
            created_at=None,
            started_at=None,
            finished_at=None,
        )
        status = chance.choice(["succeeded", "failed", "stopped"])
        rows += [unknown] * (number % 4 == 0) + [OutcomeRow(job_id=job_id, status=status, **told, **ended)] * (
            number % 5 > 0
        )
        rows += [UsageRow(job_id=job_id, machine="ml.m5", cost=0.25 * number, currency="USD")] * (number % 3 > 0)
        rows += [RehearsalRow(job_id=job_id, backend="b", faults=[])]
    return rows


def record_in_pieces(history: History, rows: list[Row], chance: random.Random) -> None:
    """Write rows a few at a time, twice each, as processes do that do not know of each other."""
    submitted = [row for row in rows if isinstance(row, SubmissionRow)]
    history.record(*submitted)
    for _ in range(2):
        chance.shuffle(rows)
        for start in range(0, len(rows), 17):
            history.record(*rows[start : start + 17])


def count_by_tally(history: History, since: datetime | None, until: datetime | None) -> dict[Any, tuple[Any, ...]]:
    return {
        one.key: (one.jobs, one.open, one.succeeded, one.failed, one.failed_by_platform, one.stopped, one.started,
                  one.timed, one.priced, round(one.cost, 6), round(one.seconds, 6))
        for one in tally(history, BY, since=since, until=until)
    }  # fmt: skip


def count_one_by_one(history: History, since: datetime | None, until: datetime | None) -> dict[Any, tuple[Any, ...]]:
    """Count the jobs one by one."""
    groups: dict[Any, list[Any]] = {}
    for row in history.select(sa.select(jobs)):
        if (since is None or row["at"] >= since) and (until is None or row["at"] < until):
            key = (row["team"], row["model"], row["backend"], row["shadow_of"] is not None, f"{row['at']:%Y-%m-%d}")
            groups.setdefault(key, []).append(row)
    return {key: _sums(rows) for key, rows in groups.items()}


def _sums(rows: list[Any]) -> tuple[Any, ...]:
    ended = Counter(row["status"] for row in rows)
    by_platform = sum(row["status"] == "failed" and row["reason"] in ("preempted", "image") for row in rows)
    timed = [row for row in rows if row["duration"] is not None]
    return (
        len(rows), ended[None] + ended["unknown"], ended["succeeded"], ended["failed"], by_platform, ended["stopped"],
        sum(row["start_up"] is not None for row in rows), sum(row["status"] == "succeeded" for row in timed),
        sum(row["cost"] is not None for row in rows), round(sum(row["cost"] or 0 for row in rows), 6),
        round(sum(row["duration"] * (row["nodes"] or 1) for row in timed), 6),
    )  # fmt: skip


def check_windows(history: History) -> None:
    """Compare both ways of counting over whole days, days that are cut, and parts of one day."""
    noon = START + timedelta(hours=18)
    windows = ((None, None), (noon, None), (None, noon), (START, noon), (noon, noon + timedelta(hours=3)))
    for since, until in (*windows, (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))):
        assert count_by_tally(history, since, until) == count_one_by_one(history, since, until)
    assert count_by_tally(history, noon, noon + timedelta(hours=3))


def check_tallies(url: str) -> None:
    history, chance = History(url), random.Random(5)
    record_in_pieces(history, some_rows(chance, 120), chance)
    check_windows(history)
    with history.connection() as connection:
        loose = connection.scalar(sa.select(sa.func.count()).select_from(tallies))
        fold(connection, at_least=1)
        assert (connection.scalar(sa.select(sa.func.count()).select_from(tallies)) or 0) < (loose or 0) / 2
    check_windows(history)
    with history.connection() as connection:
        connection.execute(jobs.delete().where(jobs.c.model == "m1"))
    history.record(SubmissionRow(job_id="late", at=START, model="m2", kind="train", backend="a"))
    check_windows(history)


def check_first_version(url: str) -> None:
    """Fill a history of the first version, lead it to today's, and let a client of then write on."""
    engine = sa.create_engine(url)
    row = {
        "model": "m1",
        "kind": "train",
        "backend": "a",
        "fell_back": False,
        "at": START,
        "cost": 2.0,
        "currency": "USD",
    }
    names = [*row, "job_id"]
    old = sa.table("jobs", *(sa.column(name, jobs.c[name].type) for name in names))
    with engine.begin() as connection:
        command.upgrade(schema.alembic_config(connection), "0001")
        connection.execute(old.insert(), [{**row, "job_id": f"job-{number}"} for number in range(50)])
    history = History(url)
    assert sum(one.cost for one in tally(history, ("model",))) == pytest.approx(100)
    with engine.begin() as connection:
        connection.execute(old.insert(), [{**row, "job_id": "job-50"}])
        connection.execute(sa.text("UPDATE jobs SET cost = 5 WHERE job_id = 'job-0'"))
    engine.dispose()
    check_windows_of_one_day(history)


def check_windows_of_one_day(history: History) -> None:
    (one,) = tally(history, ("day",))
    assert (one.key, one.jobs) == (("2026-01-30",), 51)
    assert one.cost == pytest.approx(105)
    assert {row["day"] for row in history.select(sa.select(jobs.c.day))} == {"2026-01-30"}


def test_tallies_are_what_the_jobs_are(tmp_path: Path) -> None:
    """Late, doubled and in any order: each job is counted once, as it is now."""
    check_tallies(f"sqlite:///{tmp_path / 'history.sqlite'}")


def test_a_history_of_the_first_version_is_tallied(tmp_path: Path) -> None:
    """The triggers heal what clients of before do not do."""
    check_first_version(f"sqlite:///{tmp_path / 'history.sqlite'}")


@pytest.mark.slow
def test_tallies_on_postgresql(postgres: Postgres) -> None:
    """The same, where triggers have other words."""
    check_tallies(postgres.url)


@pytest.mark.slow
def test_a_history_of_the_first_version_on_postgresql(postgres: Postgres) -> None:
    """As above."""
    check_first_version(postgres.url)
