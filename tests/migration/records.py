"""Records of jobs on both sides of a migration, as a history has them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from lyftlearn.history.rows import OutcomeRow, SubmissionRow
from lyftlearn.history.store import History

NOW = datetime.now(UTC)
OLD, NEW = "local-kubernetes", "local-sagemaker"


def ran(number: int, backend: str, *, model: str = "eta", status: str = "succeeded", **others: Any) -> list[Any]:
    """Return the records of one job: 60 s from created to started on the new side, 20 s on the old one."""
    job_id = f"{model}-{backend}-{number}"
    start = NOW + timedelta(seconds=60 if backend == NEW else 20)
    told = {
        "reason": None,
        "at": NOW,
        "shadow_of": None,
        "fell_back": False,
        "stage": "live",
        "source": "flag",
        "kind": "train",
    } | others
    return [
        SubmissionRow(
            job_id=job_id,
            at=told["at"],
            repository="rides/eta",
            model=model,
            kind=told["kind"],
            stage=told["stage"],
            source=told["source"],
            backend=backend,
            fell_back=told["fell_back"],
            shadow_of=told["shadow_of"],
        ),
        OutcomeRow(
            job_id=job_id,
            status=status,
            reason=told["reason"],
            exit_code=None,
            created_at=NOW,
            started_at=start,
            finished_at=start + timedelta(seconds=100 + number),
        ),
    ]


def filled(journal: History, jobs: Iterable[list[Any]]) -> None:
    journal.record(*(record for job in jobs for record in job))


def failing(journal: History, old: int, new: int, **others: Any) -> None:
    """Record 50 jobs on each side, of which so many failed."""
    for backend, failed in ((OLD, old), (NEW, new)):
        filled(journal, (ran(n, backend, status="failed" if n < failed else "succeeded", **others) for n in range(50)))
