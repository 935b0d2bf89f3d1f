"""What doctor advises of warm pools: only to whom they would serve, and what keeps jobs from sharing one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lyftlearn.backend import Verdict
from lyftlearn_sagemaker.warm_pools import advice
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def jobs(count: int, pause: timedelta, model: str = "eta", kept: int = 0, **resources: Any) -> list[dict[str, Any]]:
    """Jobs of 10 minutes that wait for an instance for 3 of them."""
    kept_alive = {"KeepAlivePeriodInSeconds": kept} if kept else {}
    own = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 50, **kept_alive, **resources}
    starts = [NOON + at * (10 * MINUTE + pause) for at in range(count)]
    return [
        {
            "CreationTime": start,
            "TrainingEndTime": start + 10 * MINUTE,
            "ResourceConfig": dict(own),
            "RoleArn": "arn:aws:iam::123456789012:role/jobs",
            "SecondaryStatusTransitions": [
                {"Status": "Starting", "StartTime": start},
                {"Status": "Downloading", "StartTime": start + 3 * MINUTE},
            ],
            "Tags": [{"Key": "lyftlearn:name", "Value": model}, {"Key": "lyftlearn:kind", "Value": "train"}],
        }
        for start in starts
    ]


def test_a_model_that_retrains_every_few_minutes() -> None:
    """The setting, what it gains and what it costs: nobody turns on what is paid for without knowing that."""
    (text,) = advice(jobs(5, 7 * MINUTE))
    assert text == (
        'eta trains 7 min after its last job: `keep_alive = "15m"` in [sagemaker.models.eta] spares 180 s of waiting '
        "for ml.m5.large, for up to 7 min more of paid time a job"
    )


@pytest.mark.parametrize(
    "known",
    [
        jobs(3, 7 * MINUTE),
        jobs(5, 2 * timedelta(hours=1)),
        jobs(5, 7 * MINUTE, kept=900),
        [{**job, "EnableManagedSpotTraining": True} for job in jobs(5, 7 * MINUTE)],
        [{**job, "TrainingEndTime": None} for job in jobs(5, 7 * MINUTE)],
        [{**job, "Tags": []} for job in jobs(5, 7 * MINUTE)],
        [{**job, "CreationTime": NOON} for job in jobs(5, 7 * MINUTE)],
        [],
    ],
    ids=["few", "rare", "warm", "spot", "running", "strangers", "at once", "none"],
)
def test_whom_it_would_not_serve(known: list[dict[str, Any]]) -> None:
    """Advice that costs money and changes nothing is worse than none."""
    assert list(advice(known)) == []


def test_a_period_that_is_too_short() -> None:
    """The instances are paid for and gone when the next job comes."""
    (text,) = advice(jobs(5, 20 * MINUTE, kept=300))
    assert '`keep_alive = "30m"`' in text


def test_jobs_that_do_not_match() -> None:
    """A volume that grows with each job's data keeps every pool from being used again."""
    known = jobs(5, 7 * MINUTE, kept=900)
    for at, job in enumerate(known):
        job["ResourceConfig"]["VolumeSizeInGB"] = 50 + at
    (text,) = advice(known)
    assert text.endswith("for they differ in VolumeSizeInGB")


def test_doctor_tells_it(service: Service, make: Make, storage_url: str) -> None:
    """As the service itself tells of its jobs."""
    service.conduct.containers = False
    backend = make()
    for _ in range(4):
        job = spec(storage_url)
        backend.submit(backend.plan(job))
        training = service.jobs.find(job.id)
        assert training
        training.finish("Completed")
    (check,) = (check for check in backend.diagnose() if check.name == "sagemaker: warm pools")
    assert check.verdict is Verdict.WARNING
    assert "keep_alive" in check.detail
