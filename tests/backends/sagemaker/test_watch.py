"""WatchSet: one poller for all jobs, few requests, nothing missed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from lyftlearn.backend import JobQuery, WatchSet
from lyftlearn.errors import AccessDenied, JobNotFound
from lyftlearn.events import JobEvent, ObservedState, advance
from lyftlearn.types import FailureReason, JobState, JobStatus
from lyftlearn_sagemaker.api import client, patience
from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.status import poller, watcher
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.faults import BROKEN, DENIED, LOST, REFUSALS, THROTTLED, Fault

LIST, DESCRIBE = "ListTrainingJobs", "DescribeTrainingJob"
PATIENCE = 600.0


class Follower:
    """One watch in a thread, and what it said."""

    def __init__(self, backend: SageMakerBackend) -> None:
        self.following = WatchSet(lambda job_id, _: self.absent.add(job_id))
        self.absent: set[str] = set()
        self.events: list[JobEvent] = []
        self.error: Exception | None = None
        self._backend = backend
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def state(self, job_id: str) -> JobState | None:
        start: ObservedState | None = None
        progress = reduce(advance, [event for event in list(self.events) if event.job_id == job_id], start)
        return progress.state if progress else None

    def until(self, reached: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, (
                f"not within {PATIENCE} s; the last events: {self.events[-3:]}, {self.error}"
            )
            time.sleep(0.02)

    def ended(self, *ids: str) -> bool:
        states = [self.state(job_id) for job_id in ids]
        return all(state is not None and state.status.finished for state in states)

    def close(self) -> None:
        self.following.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        try:
            self.events.extend(self._backend.watch(self.following))
        except Exception as exc:  # noqa: BLE001 - looked at by the test
            self.error = exc


@contextmanager
def following(backend: SageMakerBackend, *ids: str) -> Iterator[Follower]:
    follower = Follower(backend)
    for job_id in ids:
        follower.following.add(job_id)
    yield follower
    follower.close()


@pytest.fixture(autouse=True)
def without_containers(service: Service) -> None:
    service.conduct.containers = False


def _submit(backend: SageMakerBackend, storage_url: str, count: int = 1) -> list[str]:
    return [backend.submit(backend.plan(spec(storage_url))).id for _ in range(count)]


def _job(service: Service, job_id: str) -> Any:
    found = service.jobs.find(job_id)
    assert found
    return found


def test_no_describe_before_the_end(service: Service, make: Make, storage_url: str) -> None:
    """Fifty jobs cost as many lists as one, two a second at most, and each is asked for by name once, at its end."""
    backend = make()
    ids = _submit(backend, storage_url, 50)
    began, before = time.monotonic(), len(service.requests)
    with following(backend, *ids) as follower:
        follower.until(lambda: all(_is(follower, job_id, JobStatus.RUNNING) for job_id in ids))
        asked = [operation for _, operation in service.requests[before:]]
        assert set(asked) == {LIST}
        assert len(asked) <= 2 * (time.monotonic() - began) + 2
        for job_id in ids:
            _job(service, job_id).finish()
        follower.until(lambda: follower.ended(*ids))
    assert service.count(DESCRIBE) == len(ids)


def _is(follower: Follower, job_id: str, status: JobStatus) -> bool:
    state = follower.state(job_id)
    return state is not None and state.status is status


def test_lists_become_seldom_while_nothing_happens(service: Service, make: Make, storage_url: str) -> None:
    """An account has two lists a second for everybody in it."""
    backend = make()
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        time.sleep(6)
        times = [at for at, operation in service.requests if operation == LIST]
        gaps = [later - earlier for earlier, later in zip(times[-4:], times[-3:], strict=False)]
        assert gaps[-1] > 1.0


def test_jobs_of_another_process(service: Service, make: Make, storage_url: str) -> None:
    """Many ids that this process knows nothing of are found in the list, not asked for one by one."""
    ids = _submit(make(), storage_url, 30)
    time.sleep(0.3)
    service.faults.clear()
    with following(make(), *ids) as follower:
        follower.until(lambda: all(follower.state(job_id) for job_id in ids))
        assert service.count(DESCRIBE) <= 10
        _job(service, ids[7]).finish()
        follower.until(lambda: follower.ended(ids[7]))


def test_more_jobs_than_a_page(service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page that names a next one is not the end: the service filters after it has cut pages."""
    monkeypatch.setattr(poller, "_PAGE", 5)
    monkeypatch.setattr(poller, "LIST_PAUSE", 0.01)
    backend = make()
    ids = _submit(backend, storage_url, 12)
    with following(backend, *ids) as follower:
        follower.until(lambda: all(_is(follower, job_id, JobStatus.RUNNING) for job_id in ids))
        _job(service, ids[0]).finish()
        follower.until(lambda: follower.ended(ids[0]))


def test_a_spot_interruption_leads_back_to_starting(service: Service, make: Make, storage_url: str) -> None:
    """The only way back, and the job goes on afterwards."""
    service.conduct.step = 0.7
    backend = make(spot=True)
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        _job(service, job_id).break_off("Interrupted")
        follower.until(lambda: _is(follower, job_id, JobStatus.STARTING))
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
    state = follower.state(job_id)
    assert state
    assert state.status is JobStatus.SUCCEEDED


def test_capacity_comes_after_acceptance(service: Service, make: Make, storage_url: str) -> None:
    """It is a failed job, not a refusal: nobody may fall back, the job has an id."""
    backend = make()
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        _job(service, job_id).finish("Failed", "CapacityError: Unable to provision requested ML compute capacity.")
        follower.until(lambda: follower.ended(job_id))
    state = follower.state(job_id)
    assert state
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)


@pytest.mark.parametrize("fault", [THROTTLED, BROKEN, LOST], ids=["throttled", "broken", "lost"])
def test_faults_are_ridden_out(service: Service, make: Make, storage_url: str, fault: Any) -> None:
    """A storm that outlasts patience makes following late, never ends it."""
    backend = make()
    backend.aws.retry_budget.throttled = backend.aws.retry_budget.unanswered = 0.5
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        service.faults.add(LIST, fault, 6)
        service.faults.add(DESCRIBE, fault, 6)
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))


def test_no_permission_is_told(service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for ever for what is forbidden helps nobody."""
    monkeypatch.setattr(patience, "REFUSED_FOR", 0.5)
    backend = make()
    (job_id,) = _submit(backend, storage_url)
    service.faults.add(LIST, DENIED, 1000)
    with following(backend, job_id) as follower:
        follower.until(lambda: follower.error)
    assert isinstance(follower.error, AccessDenied)


@pytest.mark.parametrize("name", ["denied", "expired", "signature", "unknown token", "opt-in"])
def test_what_was_granted_before_may_be_refused_for_a_while(
    service: Service, make: Make, storage_url: str, name: str
) -> None:
    """A token is renewed, a policy is changed: whoever waits for a job of hours must not lose it to that."""
    backend = make()
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        service.faults.add(LIST, Fault(REFUSALS[name], before=True), 3)
        service.faults.add(DESCRIBE, Fault(REFUSALS[name], before=True), 3)
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
        assert follower.error is None


def test_others_jobs_that_change_much(
    service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account's list rate is everybody's: few jobs among many that change are described, and lists stay short."""
    monkeypatch.setattr(poller, "_PAGE", 2)
    backend = make()
    others = _submit(backend, storage_url, 30)
    (job_id,) = _submit(backend, storage_url)
    with following(make(), job_id) as follower:
        follower.until(lambda: service.count(DESCRIBE) >= 4)
        for other in others:
            _job(service, other).finish()
        lists = service.count(LIST)
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
        assert service.count(LIST) == lists <= 4


def test_a_job_that_is_deleted_meanwhile(service: Service, make: Make, storage_url: str) -> None:
    """Whoever waits for it is told, and the others go on."""
    backend = make()
    gone, other = _submit(backend, storage_url, 2)
    _job(service, gone).finish()
    boto3.client("sagemaker").delete_training_job(TrainingJobName=gone)
    with following(make(), gone, other) as follower:
        _job(service, other).finish()
        follower.until(lambda: follower.ended(other) and follower.absent == {gone})
        assert follower.state(gone) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KIND", "dance"), ("LABELS", "{"), ("LABELS", "[1]"), ("DECISION", ""), ("OUTPUTS", "null")],
)
def test_a_job_that_cannot_be_read(service: Service, make: Make, storage_url: str, variable: str, value: str) -> None:
    """One whose variables somebody has changed is named and left out; lists and waits of all others go on."""
    backend = make()
    broken, other = _submit(backend, storage_url, 2)
    _job(service, broken).request["Environment"][f"LYFTLEARN_SUBSTRATE_JOB_{variable}"] = value
    ids = [record.id for record in backend.list(JobQuery())]
    assert (broken in ids, other in ids) == (False, True)
    with pytest.raises(JobNotFound):
        backend.describe(broken)
    with following(make(), broken, other) as follower:
        _job(service, other).finish()
        follower.until(lambda: follower.ended(other))
        assert follower.error is None


def test_a_newcomer_in_a_bad_moment(service: Service, make: Make, storage_url: str) -> None:
    """A job that could not be asked for when it was followed first is asked for again, soon."""
    (job_id,) = _submit(make(), storage_url)
    backend = make()
    backend.aws.retry_budget.unanswered = 0.1
    service.faults.add(DESCRIBE, BROKEN, 3)
    with following(backend, job_id) as follower:
        follower.until(lambda: follower.state(job_id))


def test_a_job_that_is_deleted_while_it_is_followed(
    service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps no process asking for ever, and none waiting."""
    monkeypatch.setattr(poller, "RECONCILE_EVERY", 1.0)
    backend = make()
    gone, other = _submit(backend, storage_url, 2)
    with following(backend, gone, other) as follower:
        follower.until(lambda: _is(follower, gone, JobStatus.RUNNING))
        service.jobs.remove(_job(service, gone))
        before = service.count(DESCRIBE)
        follower.until(lambda: gone in follower.absent)
        assert service.count(DESCRIBE) > before
        _job(service, other).finish()
        follower.until(lambda: follower.ended(other))


def test_what_a_list_missed_is_reconciled(
    service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that never shows in the list of changes is found by looking at everything, slowly."""
    monkeypatch.setattr(poller, "RECONCILE_EVERY", 2.0)
    backend = make()
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        job = _job(service, job_id)
        job.finish()
        job._told["LastModifiedTime"] = job.created - 86400
        follower.until(lambda: follower.ended(job_id))


@pytest.fixture
def queue(service: Service, aws: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue that EventBridge fills, as docs/how-to/sagemaker.md sets it up."""
    service.conduct.publish = True
    sqs, events = boto3.client("sqs"), boto3.client("events")
    monkeypatch.setattr(watcher, "HIDDEN_FOR", 1)
    url: str = sqs.create_queue(QueueName=f"jobs-{time.monotonic_ns()}", Attributes={"VisibilityTimeout": "1"})[
        "QueueUrl"
    ]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = url.rpartition("/")[2]
    pattern = '{"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}'
    events.put_rule(Name=rule, EventPattern=pattern)
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def test_with_a_queue_nothing_is_asked(service: Service, make: Make, storage_url: str, queue: str) -> None:
    """Messages carry whole jobs: neither lists nor describes, from the first event to the last."""
    backend = make(events=queue)
    ids = _submit(backend, storage_url, 5)
    with following(backend, *ids) as follower:
        follower.until(lambda: all(_is(follower, job_id, JobStatus.RUNNING) for job_id in ids))
        for job_id in ids[:4]:
            _job(service, job_id).finish()
        _job(service, ids[4]).finish(
            "Failed",
            'AlgorithmError: lyftlearn/1 {"exit_code":37,"reason":"user-error","attempt":1}\nwords, exit code: 37',
        )
        follower.until(lambda: follower.ended(*ids))
    assert (service.count(LIST), service.count(DESCRIBE)) == (0, 0)
    state = follower.state(ids[4])
    assert state
    assert (state.exit_code, state.message) == (37, "words")
    assert backend.describe(ids[4]).event == next(
        event for event in follower.events if event.job_id == ids[4] and event.status.finished
    )


def test_doubled_and_shuffled_messages(service: Service, make: Make, storage_url: str, queue: str) -> None:
    """EventBridge promises neither order nor once."""
    service.conduct.doubled_events = service.conduct.shuffled_events = True
    backend = make(events=queue)
    ids = _submit(backend, storage_url, 5)
    with following(backend, *ids) as follower:
        time.sleep(0.5)
        for job_id in ids:
            _job(service, job_id).finish()
        follower.until(lambda: follower.ended(*ids))
    for job_id in ids:
        assert [event.status for event in follower.events if event.job_id == job_id][-1] is JobStatus.SUCCEEDED


def test_lost_messages_are_reconciled(
    service: Service, make: Make, storage_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery is best effort, so a slow look goes beside it."""
    monkeypatch.setattr(poller, "RECONCILE_EVERY", 2.0)
    service.conduct.lost_events = 1.0
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))


def test_messages_for_others_stay(service: Service, make: Make, storage_url: str, queue: str) -> None:
    """Two processes may share a queue: what one does not follow is left for the other."""
    one, other = make(events=queue), make(events=queue)
    (first,), (second,) = _submit(one, storage_url), _submit(other, storage_url)
    with following(one, first) as follower, following(other, second) as another:
        _job(service, first).finish()
        _job(service, second).finish()
        follower.until(lambda: follower.ended(first))
        another.until(lambda: another.ended(second))
    assert service.count(LIST) == 0


def test_two_followers_of_one_job(service: Service, make: Make, storage_url: str, queue: str) -> None:
    """SQS gives a message to one reader: what one process has read must reach the other, too."""
    one, other = make(events=queue), make(events=queue)
    (job_id,) = _submit(one, storage_url)
    with following(one, job_id) as follower, following(other, job_id) as another:
        for each in (follower, another):
            each.until(partial(_is, each, job_id, JobStatus.RUNNING))
        _job(service, job_id).finish()
        for each in (follower, another):
            each.until(partial(each.ended, job_id))
    assert service.count(LIST) == 0
    assert service.count(DESCRIBE) <= 1  # the other's first look at a job that it did not submit


def test_a_late_follower(service: Service, make: Make, storage_url: str, queue: str) -> None:
    """What a process remembers of its submission is true for as long as messages are kept, and no longer."""
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)
    _job(service, job_id).finish()
    boto3.client("sqs").purge_queue(QueueUrl=queue)
    remembered = backend._recent._events
    remembered[job_id] = replace(remembered[job_id], at=datetime.now(UTC) - timedelta(minutes=3))
    with following(backend, job_id) as follower:
        follower.until(lambda: follower.ended(job_id))
    assert (service.count(LIST), service.count(DESCRIBE)) == (0, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        lambda url: f"{url}-that-is-not-there",
        lambda url: "nonsense",
        lambda url: url.replace("http://", "ftp://"),
        lambda url: "https://sqs.us-east-1.amazonaws.com.invalid/123456789012/jobs",
    ],
    ids=["no queue", "no URL", "no HTTP", "no host"],
)
def test_a_queue_in_trouble(
    service: Service, make: Make, storage_url: str, queue: str, trouble: Callable[[str], str]
) -> None:
    """The poller stands beside it: whatever is wrong with the queue makes following slower, and ends nothing."""
    backend = make(events=trouble(queue))
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        follower.until(lambda: _is(follower, job_id, JobStatus.RUNNING))
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
        assert follower.error is None


@pytest.mark.parametrize("error", ["AccessDenied", "KMS.AccessDeniedException", "OverLimit", "InternalError"])
def test_a_queue_that_answers_with_errors(
    service: Service, make: Make, storage_url: str, queue: str, error: str
) -> None:
    """A policy of the queue, or of its key, that somebody changes must not end the waits of everybody."""
    backend = make(events=queue)

    def refuse(**_: Any) -> Any:
        return AWSResponse(queue, 403, HTTPHeaders(), _Body(json.dumps({"__type": error}).encode()))

    backend.aws.client("sqs").meta.events.register("before-send.sqs.ReceiveMessage", refuse)
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
        assert follower.error is None


class _Body(bytes):
    def stream(self) -> Iterator[bytes]:
        yield bytes(self)


def test_messages_about_something_else(make: Make, storage_url: str, service: Service, queue: str) -> None:
    """A queue may be fed by a wider rule, or by hand; nothing in it ends the watch."""
    sqs = boto3.client("sqs")
    for body in ("nonsense", "{}", '{"detail-type": "SageMaker Endpoint State Change", "detail": {}}', "[]"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)
    with following(backend, job_id) as follower:
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))


def test_messages_that_leave_out_what_is_optional(
    make: Make, storage_url: str, service: Service, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service model requires no member of a message."""
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)

    def take_out(parsed: dict[str, Any], **_: Any) -> None:
        for message in parsed.get("Messages", ()):
            for member in ("MessageId", "Attributes", "ReceiptHandle"):
                message.pop(member, None)
        parsed.setdefault("Messages", []).append({})

    backend.aws.client("sqs").meta.events.register("after-call.sqs.ReceiveMessage", take_out)
    with following(backend, job_id) as follower:
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))


def test_a_clock_that_is_ahead_takes_no_message_from_others(
    service: Service, make: Make, storage_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message is old by AWS's time: by this machine's, whoever reads it first would delete it at once."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=11)

    for module in (client, watcher):
        monkeypatch.setattr(module, "datetime", Ahead)
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)
    deleted: list[Any] = []
    backend.aws.client("sqs").meta.events.register("before-call.sqs.DeleteMessageBatch", lambda **_: deleted.append(1))
    with following(backend, job_id) as follower:
        _job(service, job_id).finish()
        follower.until(lambda: follower.ended(job_id))
    assert not deleted


def test_a_message_without_variables(make: Make, storage_url: str, service: Service, queue: str) -> None:
    """What a message leaves out of a job must not make it somebody else's: the name says whose it is."""
    service.conduct.publish = False
    backend = make(events=queue)
    (job_id,) = _submit(backend, storage_url)
    _job(service, job_id).finish()
    detail = {
        "TrainingJobName": job_id,
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "CreationTime": 1767225600000,
        "LastModifiedTime": 1767225660000,
    }
    body = json.dumps({"detail-type": "SageMaker Training Job State Change", "detail": detail})
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    with following(backend, job_id) as follower:
        follower.until(lambda: follower.ended(job_id))
    assert service.count(LIST) == 0
