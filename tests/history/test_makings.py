"""What jobs were made with, and the tallies of evidence: they are what jobs and details say, whoever wrote."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from lyftlearn.history import schema
from lyftlearn.history.makings import MADE_OF, known_makings
from lyftlearn.history.rows import OutcomeRow, RehearsalRow, Row, SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.history.tables import details, evidence, jobs, makings, tallies
from lyftlearn.history.tallies import fold
from tests.doubles.postgres import Postgres

START = datetime(2026, 1, 30, 18, tzinfo=UTC)
KEYS = (
    *("day", "repository", "model", "kind", "backend", "stage", "source", "is_shadow", "status", "fell_back"),
    *("rehearsed_on", "is_hindered", "is_on_several"),
)


def some_rows(chance: random.Random, count: int) -> list[Row]:
    """Jobs of three days, in no order and doubled, of which more is known at the second time, and some of which end."""
    rows: list[Row] = []
    for number in range(count):
        job_id, at = f"job-{number}", START + timedelta(minutes=37 * number)
        bare = SubmissionRow(job_id=job_id, at=at, model=f"m{number % 3}", kind="train", backend="ab"[number % 2])
        part = replace(bare, image=chance.choice([None, "image:1"]), nodes=chance.choice([None, 1, 4]))
        told = replace(part, code=chance.choice([None, "c1", "c2"]), version=chance.choice([None, "1.0", "1.1"]))
        whole = replace(told, stage="shadow", features=chance.choice([None, [], ["gpu"]]), fell_back=number % 9 == 1)
        rows += [bare, part, whole, RehearsalRow(job_id=job_id, backend="b", faults=[("a", "b")] * (number % 4))]
        rows += [ended(job_id, at)] * (number % 5 > 0)
    chance.shuffle(rows)
    return rows


def ended(job_id: str, at: datetime) -> OutcomeRow:
    return OutcomeRow(
        job_id=job_id,
        status="succeeded",
        reason=None,
        exit_code=0,
        created_at=at,
        started_at=at,
        finished_at=at,
    )


def count_by_tallies(history: History) -> Counter[tuple[Any, ...]]:
    made = known_makings()
    columns = [
        *(evidence.c[name].label(name) for name in KEYS),
        *(made.c[name].label(f"made {name}") for name in MADE_OF),
    ]
    query = sa.select(*columns, evidence.c.jobs.label("jobs"))
    found: Counter[tuple[Any, ...]] = Counter()
    for row in history.select(query.outerjoin_from(evidence, made, made.c.making == evidence.c.making)):
        *key, number = row.values()
        found[tuple(key)] += number
    return Counter({key: number for key, number in found.items() if number})


def count_one_by_one(history: History) -> Counter[tuple[Any, ...]]:
    """Count jobs with their details, one by one."""
    columns = [*jobs.c, *(details.c[name].label(f"made {name}") for name in MADE_OF)]
    query = sa.select(*columns).outerjoin_from(jobs, details, details.c.job_id == jobs.c.job_id)
    found: Counter[tuple[Any, ...]] = Counter()
    for row in history.select(query):
        obstacles = row["obstacles"]
        of_tallies = {
            "day": f"{row['at']:%Y-%m-%d}",
            "is_shadow": row["shadow_of"] is not None,
            "is_hindered": None if obstacles is None else obstacles > 0,
            "is_on_several": (row["nodes"] or 1) > 1,
        }
        found[tuple({**row, **of_tallies}[name] for name in (*KEYS, *(f"made {name}" for name in MADE_OF)))] += 1
    return found


def check_tallies(url: str) -> None:
    history, chance = History(url), random.Random(18)
    rows = some_rows(chance, 120)
    for start in range(0, len(rows), 17):
        history.record(*rows[start : start + 17])
    assert count_by_tallies(history) == count_one_by_one(history)
    with history.connection() as connection:
        connection.execute(jobs.delete().where(jobs.c.model == "m1"))
        fold(connection, at_least=1)
        loose = sa.select(sa.func.count()).select_from(evidence).where(~evidence.c.folded)
        assert connection.scalar(loose) == 0
    assert count_by_tallies(history) == count_one_by_one(history)
    (once,) = history.select(
        sa.select(sa.func.count().label("rows"), sa.func.count(makings.c.making.distinct()).label("ids"))
    )
    assert (
        once["rows"] == once["ids"] == len(history.select(sa.select(*(makings.c[name] for name in MADE_OF)).distinct()))
    )


def of_client_before(
    number: int, *, details_first: bool = False, **more: Any
) -> list[tuple[sa.TableClause, dict[str, Any]]]:
    """What a client of the step before writes of a job: it names the columns of its time, and no others."""
    job = {"job_id": f"old-{number}", "at": START + timedelta(hours=number), "model": "m", "kind": "train",
           "backend": "a", "fell_back": False, "nodes": number % 3, "stage": "live"}  # fmt: skip
    told = {
        "job_id": job["job_id"],
        "image": None,
        "source": f"c{number % 2}",
        "version": "1.0",
        "features": "gpu",
    } | more
    written = [(table_of(jobs, job), job), (table_of(details, told), told)]
    return written[::-1] if details_first else written


def table_of(table: sa.Table, row: dict[str, Any]) -> sa.TableClause:
    return sa.table(table.name, *(sa.column(name, table.c[name].type) for name in row))


def write(engine: sa.Engine, *written: tuple[sa.TableClause, dict[str, Any]]) -> None:
    with engine.begin() as connection:
        for table, row in written:
            connection.execute(table.insert(), row)


def check_step(url: str) -> None:
    """Fill a history of the step before, lead it to today's, and let a client of then write on."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        command.upgrade(schema.alembic_config(connection), "0005")
    write(engine, *(one for number in range(20) for one in of_client_before(number)))
    nothing: dict[str, Any] = {"source": None, "version": None, "features": None}
    write(engine, *of_client_before(20, **nothing))
    history = History(url)
    assert count_by_tallies(history) == count_one_by_one(history)
    assert len(history.select(sa.select(makings))) == 2
    write(engine, *of_client_before(21), *of_client_before(22, image="new"), *of_client_before(23, **nothing))
    write(engine, *of_client_before(24, details_first=True), *of_client_before(25, details_first=True, image="newer"))
    write(engine, of_client_before(26)[0])
    assert count_by_tallies(history) == count_one_by_one(history)
    assert len(history.select(sa.select(makings))) == 4
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE details SET image = 'late' WHERE job_id = 'old-3'"))
        connection.execute(sa.text("UPDATE jobs SET rehearsed_on = 'b', obstacles = 0 WHERE job_id = 'old-4'"))
        connection.execute(tallies.delete())  # as it adds them up, without what it does not know
    engine.dispose()
    assert count_by_tallies(history) == count_one_by_one(history)


def test_evidence_is_what_jobs_and_details_say(tmp_path: Path) -> None:
    """Late, doubled and in any order: each job is counted once, with what it was made with as it is known now."""
    check_tallies(f"sqlite:///{tmp_path / 'history.sqlite'}")


def test_a_history_of_before_is_led_over(tmp_path: Path) -> None:
    """Its jobs are counted, and so are those that clients of before write from then on."""
    check_step(f"sqlite:///{tmp_path / 'history.sqlite'}")


@pytest.mark.slow
def test_evidence_on_postgresql(postgres: Postgres) -> None:
    """The same, where triggers have other words."""
    check_tallies(postgres.url)


@pytest.mark.slow
def test_a_history_of_before_is_led_over_on_postgresql(postgres: Postgres) -> None:
    """As above."""
    check_step(postgres.url)


def two_at_once(url: str) -> None:
    history = History(url)
    with history.connection() as one, history.connection() as other:
        for connection, number in ((one, 1), (other, 2)):
            for table, row in of_client_before(number * 2):
                connection.execute(table.insert(), row)
    assert [row["making"] for row in history.select(sa.select(makings.c.making))] == 2 * [
        history.select(sa.select(jobs.c.making))[0]["making"]
    ]
    assert count_by_tallies(history) == count_one_by_one(history)


@pytest.mark.slow
def test_two_writers_name_a_making_at_once(postgres: Postgres) -> None:
    """Neither waits for the other; the row is there twice, and counts once."""
    two_at_once(postgres.url)
