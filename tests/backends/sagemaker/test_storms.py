"""Everything at once, by seed: requests that are throttled, broken and lost, before and after they took effect."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from lyftlearn.backend import JobQuery
from lyftlearn.types import JobStatus
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.backends.sagemaker.test_watch import following
from tests.doubles.sagemaker import Service

JOBS = 24


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_storm(service: Service, make: Make, storage_url: str, seed: int) -> None:
    """A third of all requests go wrong: every job is there once, and everyone hears how each ended."""
    service.conduct.containers = False
    backend = make()
    backend.aws.retry_budget.throttled = backend.aws.retry_budget.unanswered = 60
    service.faults.storm = (random.Random(seed), 0.33)
    jobs = [spec(storage_url, name=f"storm-{seed}") for _ in range(JOBS)]
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda job: backend.submit(backend.plan(job)), jobs))
    assert [record.digest for record in records] == [job.digest for job in jobs]
    ids = [job.id for job in jobs]
    assert sorted(job.name for job in service.jobs.all()) == sorted(ids)
    with following(backend, *ids) as follower:
        for number, job_id in enumerate(ids):
            found = service.jobs.find(job_id)
            assert found
            found.finish("Completed" if number % 2 else "Failed", None if number % 2 else "CapacityError: none")
        follower.until(lambda: follower.ended(*ids))
    statuses = {record.id: record.event.status for record in backend.list(JobQuery(name=f"storm-{seed}"))}
    assert statuses == {
        job_id: JobStatus.SUCCEEDED if number % 2 else JobStatus.FAILED for number, job_id in enumerate(ids)
    }
