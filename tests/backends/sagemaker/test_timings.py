"""Where SageMaker says that a job's time went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.status.timings import timings
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
Make = Callable[..., SageMakerBackend]


def told(*transitions: tuple[str, int]) -> dict[str, Any]:
    """A job whose secondary statuses began so many seconds after its creation; the last one lasts."""
    at = [BEGIN + timedelta(seconds=second) for _, second in transitions]
    entries = [
        {"Status": status, "StartTime": start, **({"EndTime": end} if end else {})}
        for (status, _), start, end in zip(transitions, at, [*at[1:], None], strict=True)
    ]
    return {"CreationTime": BEGIN, "SecondaryStatusTransitions": entries}


def lengths(job: dict[str, Any]) -> list[tuple[str, float | None]]:
    return [
        (str(phase.name), (phase.finished_at - phase.started_at).total_seconds() if phase.finished_at else None)
        for phase in timings(job, warm=None).phases
    ]


def test_the_phases_of_a_job_that_runs() -> None:
    """SageMaker fetches the inputs before the image, and says both."""
    job = told(("Starting", 2), ("Downloading", 60), ("DownloadingTrainingImage", 70), ("Training", 95))
    assert lengths(job) == [("waiting", 60), ("fetching", 10), ("pulling", 25), ("running", None)]


def test_a_job_that_was_interrupted_waits_again() -> None:
    """The second wait for a spot instance is no part of the first."""
    job = told(
        ("Pending", 0), ("Training", 5), ("Interrupted", 9), ("Starting", 10), ("Training", 30), ("Completed", 40)
    )
    assert lengths(job) == [("waiting", 5), ("running", 4), ("waiting", 21), ("running", 10)]


def test_a_job_that_nothing_is_told_of() -> None:
    """It was created a moment ago."""
    assert lengths({"CreationTime": BEGIN}) == [("waiting", None)]


def test_a_warm_pool_is_told(service: Service, make: Make, storage_url: str) -> None:
    """Only the earlier job says who took over its instances; without keep_alive nobody has to be asked."""
    service.conduct.containers = False
    backend = make(keep_alive="10m", instances={"pin": "ml.m5.large"})
    first, second = spec(storage_url), spec(storage_url)
    for job in (first, second):
        backend.submit(backend.plan(job))
        found = service.jobs.find(job.id)
        assert found is not None
        found.finish()
    assert [backend.timings(job.id).warm for job in (first, second)] == [None, True]
    before = service.count("Search")
    plain = make()
    cold = spec(storage_url)
    plain.submit(plain.plan(cold))
    assert plain.timings(cold.id).warm is None
    assert service.count("Search") == before
