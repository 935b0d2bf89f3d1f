"""Medians of many models at once: each is what its own jobs say, on either database."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from lyftlearn._migration import statistics
from lyftlearn._migration.medians import DURATION, START_UP, UNKNOWN, Which, medians
from lyftlearn.history.rows import OutcomeRow, Row, SubmissionRow
from lyftlearn.history.store import History
from tests.doubles.postgres import Postgres
from tests.migration.records import NEW, OLD

START = datetime(2026, 3, 1, tzinfo=UTC)


def rows_of(number: int, which: Which, started: float, took: float) -> list[Row]:
    repository, model = which.model or (UNKNOWN, "")
    job_id, at = f"job-{number}", START + timedelta(hours=number)
    submission = SubmissionRow(
        job_id=job_id,
        at=at,
        model=model,
        kind="train",
        backend=which.backend,
        repository=None if repository == UNKNOWN else repository,
        shadow_of="another" if which.is_shadow else None,
    )
    ran = at + timedelta(seconds=started)
    end = ran + timedelta(seconds=took)
    outcome = OutcomeRow(
        job_id=job_id,
        status="succeeded",
        reason=None,
        exit_code=0,
        created_at=at,
        started_at=ran,
        finished_at=end,
    )
    return [submission, outcome]


def check_medians(history: History, since: datetime | None) -> None:
    """Write jobs of eleven models, from one to twenty of each, and compare with what sorting them says."""
    draw = random.Random(3)
    names = [(f"team/{of % 2}" if of % 3 else UNKNOWN, f"m{of}") for of in range(11)]
    sides = [Which(name, side) for name in names for side in (OLD, NEW)] + [Which(names[1], NEW, is_shadow=True)]
    values: dict[tuple[str, Which], list[float]] = defaultdict(list)
    number, rows = 0, list[Row]()
    for which in sides:
        for _ in range(draw.choice([1, 2, 7, 8, 19, 20])):
            started, took = float(draw.randrange(9)), draw.randrange(1, 99) / 4
            rows += rows_of(number, which, started, took)
            if since is None or START + timedelta(hours=number) >= since:
                for of in {which, Which(None, which.backend, which.is_shadow)}:
                    values[START_UP, of].append(started)
                    values[DURATION, of].append(took)
            number += 1
    history.record(*rows)
    counts = {of: len(some) for of, some in values.items()} | {(DURATION, Which(("team/9", "m"), OLD)): 0}
    assert medians(history, counts, since) == {of: statistics.middle(some) for of, some in values.items()}


@pytest.mark.parametrize("since", [None, START + timedelta(hours=40)])
def test_each_model_has_its_own_median(tmp_path: Path, since: datetime | None) -> None:
    """Those without a repository and those with one are asked in turn, a few in one statement."""
    check_medians(History(f"sqlite:///{tmp_path}/history.sqlite"), since)


def test_a_server_says_the_same(postgres: Postgres) -> None:
    """PostgreSQL takes the same statements."""
    check_medians(History(postgres.url), START + timedelta(hours=40))


def test_a_server_is_asked_beside(postgres: Postgres, tmp_path: Path) -> None:
    """What is asked beside is answered in any case, and what fails there fails where it is waited for."""
    for url in (postgres.url, f"sqlite:///{tmp_path}/history.sqlite"):
        history = History(url)
        with history.beside(partial(medians, history, {}, None)) as answer:
            assert answer() == {}
        with history.beside(lambda: 1 // 0) as failing, pytest.raises(ZeroDivisionError):
            failing()
