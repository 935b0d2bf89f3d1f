"""Submitting: two requests, one commit point, and every way in which its answer may be lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from lyftlearn._storage import _s3
from lyftlearn.errors import AccessDenied, BackendUnavailable, Conflict, InvalidJob, JobNotFound, QuotaExceeded
from lyftlearn.types import JobStatus
from tests.backends.sagemaker.conftest import BUCKET, IMAGE, ROLE, Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import BROKEN, BROKEN_AFTER, DENIED, LOST, LOST_AFTER, THROTTLED, Fault, Refused

CREATE = "CreateTrainingJob"
_QUOTED = (
    "1 validation error detected: Value '{password=\"hunter2-secret\"}' at 'hyperParameters' failed to satisfy "
    "constraint: Map value must satisfy constraint: [Member must have length less than or equal to 2500]"
)


@pytest.fixture(autouse=True)
def without_containers(service: Service) -> None:
    """What runs in them is tested elsewhere."""
    service.conduct.containers = False


def test_a_steady_submission_is_two_requests(service: Service, make: Make, storage_url: str) -> None:
    """One to S3, one to SageMaker: at a few thousand jobs a day every other one is felt."""
    backend = make()
    seen: list[str] = []
    backend.submit(backend.plan(spec(storage_url)))
    backend._storage.client.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.method))  # type: ignore[attr-defined]
    before = len(service.requests)
    for _ in range(3):
        backend.submit(backend.plan(spec(storage_url)))
    assert seen == ["PUT"] * 3
    assert [operation for _, operation in service.requests[before:]] == [CREATE] * 3


def test_the_runtime_is_kept_once(make: Make, storage_url: str) -> None:
    """It is 30 KB that every job needs and no job changes."""
    for _ in range(2):
        backend = make()
        backend.submit(backend.plan(spec(storage_url)))
    prefix = storage_url.removeprefix(f"s3://{BUCKET}/")
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/runtime/")["Contents"]
    assert len(found) == 1


@pytest.mark.parametrize("kept", [None, 1000, 0])
def test_a_runtime_that_was_cut_after_the_plan(make: Make, storage_url: str, kept: int | None) -> None:
    """What is uploaded is made anew from what lyftlearn is: a client lives for weeks, and disks are full."""
    backend = make()
    plan = backend.plan(spec(storage_url))
    path = backend._planner.runtime
    whole = path.read_bytes()
    if kept is None:
        path.unlink()
    else:
        os.truncate(path, kept)
    backend.submit(plan)
    key = f"{storage_url.removeprefix(f's3://{BUCKET}/')}/{backend._planner.runtime_key}"
    assert boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read() == whole


@pytest.mark.parametrize("fault", [BROKEN, BROKEN_AFTER, LOST, LOST_AFTER, THROTTLED], ids=lambda fault: f"{fault}")
@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_never_came_is_settled(
    service: Service, make: Make, storage_url: str, fault: Fault, times: int
) -> None:
    """Whatever is lost, before or after the commit: one job, and the caller gets it."""
    service.faults.add(CREATE, fault, times)
    backend, job = make(), spec(storage_url)
    record = backend.submit(backend.plan(job))
    assert (record.id, record.digest) == (job.id, job.digest)
    assert [one.name for one in service.jobs.all() if one.name == job.id] == [job.id]


def test_nobody_can_know(service: Service, make: Make, storage_url: str) -> None:
    """When no answer ever comes, the error carries the id, and repeating it later finds the job."""
    service.faults.add(CREATE, LOST_AFTER)
    service.faults.add(CREATE, LOST, 100)
    backend, job = make(), spec(storage_url)
    backend.aws.retry_budget.unanswered = 0.5
    with pytest.raises(BackendUnavailable) as caught:
        backend.submit(backend.plan(job))
    assert caught.value.job_id == job.id
    service.faults.clear()
    assert backend.submit(backend.plan(job)).id == job.id


def test_throttling_is_certainly_no_acceptance(service: Service, make: Make, storage_url: str) -> None:
    """After throttling alone a fallback is safe, so the error must not claim that nobody can know."""
    service.faults.add(CREATE, THROTTLED, 1000)
    backend, job = make(), spec(storage_url)
    backend.aws.retry_budget.throttled = 1
    with pytest.raises(BackendUnavailable) as caught:
        backend.submit(backend.plan(job))
    assert caught.value.job_id is None
    with pytest.raises(JobNotFound):
        backend.describe(job.id)


def test_a_storm_of_throttling_is_ridden_out(service: Service, make: Make, storage_url: str) -> None:
    """Create throttles near five parallel submitters, and every morning's cron is more than that."""
    service.faults.add(CREATE, THROTTLED, 12)
    backend = make()
    jobs = [spec(storage_url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda job: backend.submit(backend.plan(job)), jobs))
    assert [record.id for record in records] == [job.id for job in jobs]


def test_another_digest_is_a_conflict(make: Make, storage_url: str) -> None:
    """ResourceInUse alone tells nothing; the digest tells whose job it is."""
    backend, job = make(), spec(storage_url)
    backend.submit(backend.plan(job))
    with pytest.raises(Conflict) as caught:
        backend.submit(backend.plan(replace(job, digest="0" * 64)))
    assert caught.value.job_id == job.id


def test_a_deleted_jobs_name_is_free(service: Service, make: Make, storage_url: str) -> None:
    """DeleteTrainingJob exists: names may become free again, between two requests too."""
    backend, job = make(), spec(storage_url)
    backend.submit(backend.plan(job))
    found = service.jobs.find(job.id)
    assert found
    found.finish()
    boto3.client("sagemaker").delete_training_job(TrainingJobName=job.id)
    with pytest.raises(JobNotFound):
        backend.describe(job.id)
    service.faults.add(CREATE, Fault(Refused("ResourceInUse", "was taken a moment ago"), before=True))
    assert backend.submit(backend.plan(job)).event.status is JobStatus.PENDING


def test_quotas_have_names(service: Service, make: Make, storage_url: str) -> None:
    """Whoever reads it must know which quota to ask for."""
    service.conduct.quotas["ml.c7i.large"] = 0
    backend = make()
    with pytest.raises(QuotaExceeded, match=r"the quota 'ml\.c7i\.large for training job usage'"):
        backend.submit(backend.plan(spec(storage_url)))


def test_a_role_that_cannot_be_assumed(service: Service, make: Make, storage_url: str) -> None:
    """It is a matter of access, though the service calls it validation."""
    service.conduct.roles = frozenset(["arn:aws:iam::123456789012:role/other"])
    backend = make()
    with pytest.raises(AccessDenied, match=ROLE):
        backend.submit(backend.plan(spec(storage_url)))


def test_no_permission(service: Service, make: Make, storage_url: str) -> None:
    """Repeating it would not help, so it is not repeated."""
    service.faults.add(CREATE, DENIED)
    backend = make()
    with pytest.raises(AccessDenied, match="not authorized"):
        backend.submit(backend.plan(spec(storage_url)))
    assert service.count(CREATE) == 1


def test_a_validation_error_is_redacted(service: Service, make: Make, storage_url: str) -> None:
    """The service quotes the whole map; neither the message, nor the cause, nor the traceback may."""
    job = spec(storage_url, hyperparameters=json.dumps({"password": "hunter2-secret", "other": "o'dd, at 'x' value"}))
    for message in (_QUOTED, 'Invalid parameters: {"password": "hunter2-secret"}'):
        service.faults.add(CREATE, Fault(Refused("ValidationException", message), before=True))
        backend = make()
        with pytest.raises(InvalidJob) as caught:
            backend.submit(backend.plan(job))
        told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value.__cause__))
        assert "hunter2" not in told
        assert caught.value.__context__ is None or "hunter2" not in str(caught.value.__context__)
    assert "hidden" in told


def test_s3_that_fails_commits_nothing(service: Service, make: Make, storage_url: str) -> None:
    """The bundle comes first: a job without one would start and fail."""
    from lyftlearn.errors import LyftLearnError

    backend, job = make(), spec(storage_url.replace(BUCKET, "no-such-bucket"))
    backend._planner._storage_url = backend._settings.storage_url.replace(BUCKET, "no-such-bucket")
    object.__setattr__(backend._settings, "storage_url", backend._planner._storage_url)
    with pytest.raises(LyftLearnError):
        backend.submit(backend.plan(job))
    assert service.count(CREATE) == 0


def _failing(times: int) -> Any:
    """Return a handler that lets S3 answer with 503 `times` times."""
    from botocore.awsrequest import AWSResponse

    class Body(bytes):
        def stream(self) -> Any:
            yield bytes(self)

        def read(self, *_: Any) -> bytes:
            return bytes(self)

    left = iter(range(times))

    def answer(**_: Any) -> Any:
        if next(left, None) is None:
            return None
        content = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
        headers: Any = {}
        return AWSResponse("http://localhost", 503, headers, Body(content))

    return answer


@pytest.mark.parametrize(("times", "accepted"), [(2, True), (50, False)])
def test_s3_that_stumbles(service: Service, make: Make, storage_url: str, times: int, accepted: bool) -> None:
    """A few failures are repeated; many are certainly no acceptance, and the next call starts afresh."""
    backend, job = make(), spec(storage_url)
    backend.submit(backend.plan(spec(storage_url)))
    before = service.count(CREATE)
    backend._storage.client.meta.events.register("before-send.s3.PutObject", _failing(times))  # type: ignore[attr-defined]
    if accepted:
        assert backend.submit(backend.plan(job)).id == job.id
        return
    with pytest.raises(BackendUnavailable) as caught:
        backend.submit(backend.plan(job))
    assert caught.value.job_id is None
    assert service.count(CREATE) == before


_DIES = """
import os, sys
sys.path[:0] = {path!r}
from tests.backends.sagemaker import specs
from dataclasses import replace
from pathlib import Path
from lyftlearn._storage import _s3
from lyftlearn.backend import BackendSettings
from lyftlearn_sagemaker import create
import botocore.httpsession
boundary, count = int(sys.argv[1]), 0
send = botocore.httpsession.URLLib3Session.send
def dying(self, request):
    global count
    count += 1
    if count == boundary and sys.argv[2] == "before":
        os._exit(9)
    answer = send(self, request)
    if count == boundary:
        os._exit(9)
    return answer
botocore.httpsession.URLLib3Session.send = dying
table = {table!r}
backend = create(BackendSettings(name="sagemaker", table=table, home=Path(sys.argv[5]), storage_url=sys.argv[3]))
backend.submit(backend.plan(specs.spec(sys.argv[3], id=sys.argv[4], digest="d" * 64)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("boundary", [1, 2, 3, 4])
def test_a_process_that_dies_at_a_request(  # noqa: PLR0917 - fixtures
    service: Service, make: Make, storage_url: str, tmp_path: Path, boundary: int, when: str
) -> None:
    """Killed before or after any request of a first submission: the next try makes it one job."""
    job = spec(storage_url, digest="d" * 64)
    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1"}
    code = _DIES.format(path=sys.path, table=table)
    arguments = [str(boundary), when, storage_url, job.id, str(tmp_path / "other-home")]
    died = subprocess.run([sys.executable, "-c", code, *arguments], env=dict(os.environ), check=False)
    assert died.returncode == 9
    backend = make()
    assert backend.submit(backend.plan(job)).id == job.id
    created: Any = [one for one in service.jobs.all() if one.name == job.id]
    assert len(created) == 1


def test_a_storm_in_s3_is_ridden_out(make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 throttles as SageMaker does: it gets the same patience, since nothing is committed before."""
    backend, job = make(), spec(storage_url)
    backend.submit(backend.plan(spec(storage_url)))
    monkeypatch.setattr(_s3, "SECONDS_OF_PATIENCE", 120.0)
    backend._storage.client.meta.events.register("before-send.s3.PutObject", _failing(12))  # type: ignore[attr-defined]
    assert backend.submit(backend.plan(job)).id == job.id
