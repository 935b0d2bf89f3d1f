"""A history with jobs of many kinds, and of a migration."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lyftlearn.history.rows import ComparisonRow, OutcomeRow, RehearsalRow, Row, SubmissionRow, UsageRow
from lyftlearn.history.store import History

NOW = datetime.now(UTC).replace(microsecond=0)
DECISION = {
    "backend": "sagemaker",
    "reason": "the flag says live",
    "source": "flag",
    "stage": "live",
    "flag": "move",
    "variant": "live",
    "fell_back": False,
}
KINDS = ("train", "process", "predict")


def history(home: Path) -> History:
    home.mkdir(parents=True, exist_ok=True)
    return History(f"sqlite:///{home / 'history.sqlite'}")


def fill(home: Path, jobs: int = 120, text: str = "") -> None:
    """Write jobs of two models, teams and backends, the newest first; `text` stands in all that a user writes."""
    history(home).record(*(row for number in range(jobs) for row in rows(number, text)))


def rows(number: int, text: str = "") -> list[Row]:
    at = NOW - timedelta(hours=3 * number, seconds=1)
    job_id, failed = job_name(number), number % 7 == 3
    backend = "sagemaker" if number % 2 else "kubernetes"
    begun = at + timedelta(seconds=20 + number % 5)
    return [
        SubmissionRow(
            job_id=job_id,
            at=at,
            model=f"{'eta' if number % 3 else 'fare'}{text}",
            kind=KINDS[number % 3],
            backend=backend,
            repository="rides",
            team="pricing" if number % 4 else "maps",
            owner=f"ada{text}",
            stage="live",
            source="flag",
            nodes=1,
            labels={f"city{text}": f"ewr{text}"},
            decision=json.dumps(DECISION | {"asked": [["LYFTLEARN_BACKEND", "not set"], ["flag move", f"live{text}"]]}),
            resources={"cpu": 2.0, "memory": 4 << 30},
            outputs={"model": f"s3://ml/jobs/{job_id}/output/model.tar.gz{text}"},
            command=["python", f"train.py{text}"],
            image=f"registry.example/eta:2{text}",
        ),
        OutcomeRow(
            job_id=job_id,
            status="failed" if failed else "succeeded",
            reason="user-error" if failed else None,
            exit_code=3 if failed else 0,
            created_at=at,
            started_at=begun,
            finished_at=begun + timedelta(minutes=4, seconds=number % 60),
            message=f"Traceback (most recent call last):\nValueError: no rides{text}" if failed else None,
        ),
        UsageRow(
            job_id=job_id,
            machine="ml.m5.large",
            billed=264.0,
            cost=None if number % 5 == 0 else 0.0084,
            currency="USD",
            basis="a price file",
            timings={"waiting": 12.0, "starting": 8.0, "running": 240.0, "uploading": 4.0},
        ),
        RehearsalRow(
            job_id=job_id, backend="sagemaker", faults=[("resources.cpu", f"too many{text}")] if failed else []
        ),
    ]


def job_name(number: int) -> str:
    return f"eta-tk{number:011d}"


def compare(home: Path, number: int, text: str) -> None:
    """Give a job a shadow that differs."""
    shadow = SubmissionRow(
        job_id="eta-tsshadow00000",
        at=NOW,
        model="eta",
        kind="train",
        backend="sagemaker",
        team="pricing",
        shadow_of=job_name(number),
    )
    difference = ComparisonRow(job_id=job_name(number), shadow_id="eta-tsshadow00000", differences=[text])
    history(home).record(shadow, difference)
