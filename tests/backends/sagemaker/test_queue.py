"""Jobs that wait in a queue of AWS Batch: as those that start at once, but for the wait."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lyftlearn.backend import JobQuery, JobSpec, LogQuery, Verdict, WatchSet, words
from lyftlearn.errors import BackendUnavailable, Conflict, InvalidJob, JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_sagemaker import logs
from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.options import read_table
from lyftlearn_sagemaker.status.service_jobs import event_of
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service, faults
from tests.doubles.sagemaker.batch import NO_CAPACITY as NO_CAPACITY_CODE
from tests.doubles.sagemaker.faults import LOST_AFTER, Fault, Refused
from tests.doubles.sagemaker.surroundings import LogStream

QUEUE = "rides-gpu"


@pytest.fixture
def queue(service: Service) -> Service:
    """The service with a queue that has room for two instances."""
    service.conduct.batch_queues = {QUEUE: 2}
    service.conduct.containers = False
    return service


@pytest.fixture
def backend(queue: Service, make: Make) -> SageMakerBackend:
    """A backend whose train jobs go through the queue."""
    return make(queue=QUEUE)


def _submit(backend: SageMakerBackend, storage_url: str, **changes: Any) -> JobSpec:
    job = spec(storage_url, **changes)
    backend.submit(backend.plan(job))
    return job


def _until(condition: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def _status(backend: SageMakerBackend, job: JobSpec) -> JobStatus:
    return backend.describe(job.id).event.status


def _attempt(queue: Service, job: JobSpec, *, number: int = 1) -> Any:
    """Return the training job of an attempt once it is in Training."""
    service_job = next(one for one in queue.batch._jobs.values() if one["jobName"] == job.id)
    _until(lambda: len(service_job["attempts"]) >= number)
    name = service_job["attempts"][number - 1]["serviceResourceId"]["value"].rpartition("/")[2]
    training = _until(lambda: queue.jobs.find(name))
    _until(lambda: training.described()["SecondaryStatus"] == "Training")
    return training


def test_the_request(make: Make, storage_url: str) -> None:
    """Batch gets the create that SageMaker would get, and repeats what the platform broke alone."""
    job = spec(storage_url, labels={"team": "eta"})
    plan = make(queue=QUEUE, share="rides", priority=7, infrastructure_retries=2).plan(job)
    assert plan.faults == ()
    request = plan.requests[1]
    assert request.operation == "batch:SubmitServiceJob"
    assert (request.body["jobName"], request.body["jobQueue"]) == (job.id, QUEUE)
    assert (request.body["shareIdentifier"], request.body["schedulingPriority"]) == ("rides", 7)
    assert request.body["retryStrategy"]["attempts"] == 3
    rules = request.body["retryStrategy"]["evaluateOnExit"]
    assert [rule["action"] for rule in rules] == [*["RETRY"] * (len(rules) - 1), "EXIT"]
    assert len(rules) <= 5
    payload = json.loads(request.body["serviceRequestPayload"])
    assert payload["TrainingJobName"] == job.id
    assert "RetryStrategy" not in payload
    assert request.body["tags"]["lyftlearn:label/team"] == "eta"
    assert make(queue=QUEUE).plan(job).requests[1].body["clientToken"] == request.body["clientToken"]


@pytest.mark.parametrize("kind", [JobKind.PROCESS, JobKind.PREDICT])
def test_only_train_jobs_wait(make: Make, storage_url: str, kind: JobKind) -> None:
    """The plan says why another job does not."""
    plan = make(queue=QUEUE).plan(spec(storage_url, kind=kind))
    assert plan.requests[1].operation == "sagemaker:CreateTrainingJob"
    assert any(note.startswith("queue:") for note in plan.notes)


def test_what_cannot_be() -> None:
    """A share or a priority without a queue would silently do nothing."""
    both = {"queue": "q", "share": "rides", "quota_share": "rides-gpu"}
    assert [path for path, _ in read_table("sagemaker", both).faults] == ["sagemaker.quota_share"]
    names = {"queue": "my queue", "share": "rides-gpu"}
    assert {path for path, _ in read_table("sagemaker", names).faults} == {"sagemaker.queue", "sagemaker.share"}
    faults_ = read_table("sagemaker", {"share": "rides", "models": {"eta": {"priority": 1}}}).faults
    assert [path for path, _ in faults_] == [
        "sagemaker.share",
        "sagemaker.models.eta.share",
        "sagemaker.models.eta.priority",
    ]


GOOD = {"jobName": "a", "jobQueue": QUEUE, "serviceJobType": "SAGEMAKER_TRAINING", "serviceRequestPayload": "{}"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"jobQueue": "other"}, "does not exist"),
        ({"jobName": "a b"}, "jobName"),
        ({"jobName": "a" * 129}, "jobName"),
        ({"schedulingPriority": 10000}, "schedulingPriority"),
        ({"shareIdentifier": "rides"}, "cannot be specified"),
        ({"retryStrategy": {"attempts": 11}}, "attempts"),
        ({"serviceRequestPayload": "TrainingJobName"}, "JSON"),
        ({"clientToken": "a" * 65}, "less than or equal to 64"),
        ({"serviceJobType": "TRAINING"}, "enum value set"),
        ({"tags": {"a": "b" * 257}}, "Map value"),
    ],
)
def test_the_double_refuses_what_batch_refuses(queue: Service, change: dict[str, Any], problem: str) -> None:
    """A double that accepted what AWS refuses would prove nothing."""
    with pytest.raises(ClientError, match=problem) as caught:
        boto3.client("batch").submit_service_job(**{**GOOD, **change})
    assert caught.value.response["Error"]["Code"] == "ClientException"


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_many_jobs_over_a_quota_of_two(queue: Service, make: Make, storage_url: str, count: int) -> None:
    """Each runs once and whole, two at a time; its state, its log and its place in lists are as of any job."""
    queue.conduct.containers = True
    backend = make(queue=QUEUE)
    script = ("sh", "-c", "echo ran $LYFTLEARN_JOB_ID; echo 1 > $LYFTLEARN_MODEL_DIR/model")
    jobs = [_submit(backend, storage_url, command=script) for _ in range(count)]
    following = WatchSet()
    seen: dict[str, list[Any]] = {job.id: [] for job in jobs}
    for job in jobs:
        following.add(job.id)
    for event in make(queue=QUEUE).watch(following):  # another process's
        seen[event.job_id].append(event)
        running = [one for one in queue.jobs.all() if one.status == "InProgress"]
        assert len(running) <= 2
        if event.status.finished:
            following.discard(event.job_id)
        if not following.ids:
            following.close()
    assert {events[-1].status for events in seen.values()} == {JobStatus.SUCCEEDED}
    assert any("in queue rides-gpu" in event.message for event in seen[jobs[-1].id])
    assert len(queue.jobs.all()) == count
    for job in jobs:
        lines = [line.text for line in backend.logs(job.id, LogQuery(follow=True))]
        assert [line for line in lines if line.startswith("ran")] == [f"ran {job.id}"]
        archive = job.output_uris["model"].removeprefix("s3://").partition("/")
        assert boto3.client("s3").head_object(Bucket=archive[0], Key=archive[2])["ContentLength"]
    records = list(make(queue=QUEUE).list(JobQuery()))
    assert sorted(record.id for record in records) == sorted(job.id for job in jobs)
    assert {record.event.status for record in records} == {JobStatus.SUCCEEDED}


def test_a_job_tells_its_place(queue: Service, backend: SageMakerBackend, make: Make, storage_url: str) -> None:
    """To whoever asks, in any process, and in lists, newest first."""
    jobs = [_submit(backend, storage_url) for _ in range(4)]
    for job in jobs[:2]:
        _attempt(queue, job)
    for place, job in enumerate(jobs[2:], start=1):
        event = _until(
            lambda job=job, place=place: next(
                (
                    e
                    for e in [make(queue=QUEUE).describe(job.id).event]
                    if e.message == f"number {place} in queue {QUEUE}"
                ),
                None,
            )
        )
        assert event.status is JobStatus.PENDING
    records = list(make(queue=QUEUE).list(JobQuery()))
    assert [record.id for record in records] == [job.id for job in reversed(jobs)]
    assert [record.id for record in backend.list(JobQuery(status=JobStatus.PENDING))][:2] == [jobs[3].id, jobs[2].id]


def test_a_list_and_a_description_agree(
    queue: Service, backend: SageMakerBackend, make: Make, storage_url: str
) -> None:
    """A job is as old as its entry into the queue, whenever it was sent on, and however often."""
    first, second = _submit(backend, storage_url), _submit(backend, storage_url)
    attempts = [_attempt(queue, job) for job in (first, second)]
    third = _submit(backend, storage_url)
    queue.batch._jobs[next(key for key, one in queue.batch._jobs.items() if one["jobName"] == first.id)][
        "createdAt"
    ] -= 60_000
    middle = datetime.now(UTC) - timedelta(seconds=30)
    queue.conduct.batch_queues = {QUEUE: 0}
    attempts[1].finish("Failed", NO_CAPACITY)
    _until(lambda: _status(backend, second) is JobStatus.PENDING)
    described = {job.id: make(queue=QUEUE).describe(job.id).event.created_at for job in (first, second, third)}
    records = list(make(queue=QUEUE).list(JobQuery()))
    assert {record.id: record.event.created_at for record in records} == described
    assert [record.id for record in records] == [third.id, second.id, first.id]
    recent = [record.id for record in make(queue=QUEUE).list(JobQuery(since=middle))]
    assert recent == [third.id, second.id]
    waiting = [record.id for record in make(queue=QUEUE).list(JobQuery(status=JobStatus.PENDING))]
    assert waiting == [third.id, second.id]
    queue.conduct.batch_queues = {QUEUE: 2}
    _attempt(queue, second, number=2)
    records = list(make(queue=QUEUE).list(JobQuery()))
    assert [record.id for record in records] == [third.id, second.id, first.id]
    assert {record.id: record.event.created_at for record in records} == described
    assert [one.id for one in make(queue=QUEUE).list(JobQuery(since=described[second.id]))] == [third.id, second.id]


@pytest.mark.parametrize("place", [0, 3])
def test_a_stop_reaches_a_job_wherever_it_is(
    queue: Service, backend: SageMakerBackend, make: Make, storage_url: str, place: int
) -> None:
    """Running or waiting, it is stopped, in the same words, and no attempt follows."""
    jobs = [_submit(backend, storage_url) for _ in range(4)]
    _attempt(queue, jobs[0])
    make(queue=QUEUE).stop(jobs[place].id)
    _until(lambda: _status(backend, jobs[place]).finished)
    event = backend.describe(jobs[place].id).event
    assert (event.status, event.reason, event.message) == (JobStatus.STOPPED, None, words.STOP_REQUESTED)
    backend.stop(jobs[place].id)
    assert len([one for one in queue.batch._jobs.values() if one["jobName"] == jobs[place].id]) == 1


def test_followers_of_logs_do_not_ask_batch_for_each_job(
    queue: Service, backend: SageMakerBackend, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten quiet jobs of a queue are one list now and then; the log of an attempt that follows is found all the same."""
    monkeypatch.setattr(logs, "_MARK_SETTLE", 1.0)
    queue.conduct.batch_queues = {QUEUE: 10}
    jobs = [_submit(backend, storage_url) for _ in range(10)]
    firsts = [_attempt(queue, job) for job in jobs]
    lines: list[str] = []

    def follow(job: JobSpec) -> None:
        lines.extend(line.text for line in backend.logs(job.id, LogQuery(follow=True)))

    threads = [threading.Thread(target=follow, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    _until(lambda: queue.count("DescribeServiceJob") >= 2 * len(jobs))  # each reader's look, and the poller's first
    lists = queue.count("ListServiceJobs")
    _until(lambda: queue.count("ListServiceJobs") >= lists + 5)
    assert queue.count("DescribeServiceJob") <= 2 * len(jobs) + 4
    firsts[0].finish("Failed", "InternalServerError: We encountered an internal error. Please try again.")
    second = _attempt(queue, jobs[0], number=2)
    stream = LogStream(queue.surroundings.logs, f"{second.name}/algo-1-1", 0)
    stream.put("again")
    stream.put('#400{"event": "ended"}')
    stream.close()
    for training in (second, *firsts[1:]):
        training.finish()
    for thread in threads:
        thread.join(120)
    assert lines == ["again"]


@pytest.mark.parametrize("place", [0, 3])
def test_a_stop_in_a_queue_whose_repetition_is_refused(
    queue: Service, backend: SageMakerBackend, make: Make, storage_url: str, place: int
) -> None:
    """The job has ended, or is ending, so what Batch says to the second request is nobody's fault."""
    jobs = [_submit(backend, storage_url) for _ in range(4)]
    _attempt(queue, jobs[0])
    queue.faults.add("TerminateServiceJob", LOST_AFTER)
    refusal = Refused("ClientException", "Service job is in a terminal state")
    queue.faults.add("TerminateServiceJob", Fault(refusal, before=True))
    make(queue=QUEUE).stop(jobs[place].id)
    _until(lambda: _status(backend, jobs[place]) is JobStatus.STOPPED)


def test_a_stop_in_a_queue_that_is_refused(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """A job that goes on must not be reported as stopped."""
    job = _submit(backend, storage_url)
    _attempt(queue, job)
    queue.faults.add("TerminateServiceJob", Fault(Refused("ClientException", "not now"), before=True))
    with pytest.raises(InvalidJob, match="not now"):
        backend.stop(job.id)


@pytest.mark.parametrize("words_", ["Received status from SageMaker: ", "Received status from SageMaker:"])
def test_what_the_platform_broke_is_repeated(
    queue: Service, backend: SageMakerBackend, storage_url: str, words_: str
) -> None:
    """No watcher takes the end of an attempt for the end of its job, whether worded as in AWS's guide or in its SDK."""
    queue.conduct.batch_words = words_
    job = _submit(backend, storage_url)
    first = _attempt(queue, job)
    began = backend.describe(job.id).event.started_at
    assert began
    first.finish("Failed", "InternalServerError: We encountered an internal error. Please try again.")
    second = _attempt(queue, job, number=2)
    event = backend.describe(job.id).event
    assert event.started_at == began, "who looks now must say what those say who saw the first attempt"
    assert (event.status.finished, event.incarnation) == (False, 1000)
    assert [record.event.status.finished for record in backend.list(JobQuery())] == [False]
    second.finish("Completed")
    _until(lambda: _status(backend, job) is JobStatus.SUCCEEDED)
    assert backend.describe(job.id).event.started_at == began


def test_what_the_command_broke_is_not(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """Retries of commands are the runtime's."""
    job = _submit(backend, storage_url)
    report = 'lyftlearn/1 {"exit_code":3,"reason":"user-error","attempt":1}\nno rides'
    _attempt(queue, job).finish("Failed", f"AlgorithmError: {report}, exit code: 3")
    _until(lambda: _status(backend, job).finished)
    event = backend.describe(job.id).event
    assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 3)
    assert len(queue.jobs.all()) == 1


NO_CAPACITY = "CapacityError: Unable to provision requested ML compute capacity."


def test_no_capacity_is_waiting(queue: Service, backend: SageMakerBackend, make: Make, storage_url: str) -> None:
    """Without a queue it fails a job. Batch waits for as long as it takes, and deletes the training jobs between."""
    job = _submit(backend, storage_url)
    heard: list[JobEvent] = []
    following = WatchSet()
    following.add(job.id)
    follower = threading.Thread(target=lambda: heard.extend(make(queue=QUEUE).watch(following)), daemon=True)
    follower.start()
    first = _attempt(queue, job)
    for number in range(2, 5):
        queue.conduct.batch_queues = {QUEUE: 0}
        first.finish("Failed", NO_CAPACITY)
        _until(lambda: NO_CAPACITY_CODE in _event(make, job).message)
        assert _event(make, job).status is JobStatus.PENDING
        queue.conduct.batch_queues = {QUEUE: 2}
        first = _attempt(queue, job, number=number)
        assert _event(make, job).incarnation == 1000 * (number - 1)
    assert len(queue.jobs.all()) == 2, "the one that runs, and the last that found no capacity"
    first.finish("Completed")
    _until(lambda: _event(make, job).status is JobStatus.SUCCEEDED)
    _until(lambda: heard[-1].status is JobStatus.SUCCEEDED)
    following.close()
    follower.join(60)


def _event(make: Make, job: JobSpec) -> JobEvent:
    """What a process says that knew nothing of the job before."""
    return make(queue=QUEUE).describe(job.id).event


def test_an_attempt_without_capacity_never_ran(backend: SageMakerBackend) -> None:
    """Between the end of such an attempt and Batch's word on it, the job is as pending as before."""
    service_job = {
        "jobName": "eta-ts1",
        "jobQueue": f"arn:aws:batch:us-east-1:123456789012:job-queue/{QUEUE}",
        "status": "SCHEDULED",
        "createdAt": 1,
    }
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    training = {
        "TrainingJobName": "AWSBatcheta",
        "TrainingJobStatus": "Failed",
        "FailureReason": NO_CAPACITY,
        "CreationTime": moment,
        "LastModifiedTime": moment,
    }
    assert event_of(service_job, training, None).status is JobStatus.PENDING


def test_a_training_job_that_is_gone(queue: Service, backend: SageMakerBackend, make: Make, storage_url: str) -> None:
    """Batch still knows how the job ended."""
    done, failed = _submit(backend, storage_url), _submit(backend, storage_url)
    ends = [(done, "Completed", None), (failed, "Failed", "AlgorithmError: exit code: 3")]
    for job, status, reason in ends:
        training = _attempt(queue, job)
        training.finish(status, reason)
        _until(lambda job=job: _event(make, job).status.finished)
        queue.jobs.remove(training)
    assert [_event(make, job).status for job in (done, failed)] == [JobStatus.SUCCEEDED, JobStatus.FAILED]
    assert (_event(make, done).exit_code, _event(make, failed).reason) == (0, FailureReason.USER_ERROR)


@pytest.mark.parametrize("as_termination", [True, False])
def test_a_queue_that_waits_no_longer(
    queue: Service, backend: SageMakerBackend, storage_url: str, as_termination: bool
) -> None:
    """Nobody asked for the end of a job that its queue's own time limit ended: it found no machine."""
    queue.conduct.batch_queues = {QUEUE: 0}
    job = _submit(backend, storage_url)
    queue.batch.expire(job.id, NO_CAPACITY_CODE, as_termination=as_termination)
    event = backend.describe(job.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert NO_CAPACITY_CODE in event.message


def test_a_quota_of_the_account_is_tried_again(queue: Service, make: Make, storage_url: str) -> None:
    """Batch waits for capacity alone: another quota uses up the repetitions, and then it is a lack of capacity."""
    queue.conduct.quotas = {"ml.c7i.large": 0}
    backend = make(queue=QUEUE, infrastructure_retries=4)
    job = _submit(backend, storage_url)
    _until(lambda: _status(backend, job).finished)
    event = backend.describe(job.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CAPACITY)
    assert queue.count("CreateTrainingJob") == 0
    assert [one["_tries"] for one in queue.batch._jobs.values()] == [5]


@pytest.mark.parametrize("finally_", [True, False])
def test_other_jobs_take_its_place(queue: Service, make: Make, storage_url: str, finally_: bool) -> None:
    """A job of a quota share waits anew after that, and is as stopped by nobody if its queue ends it."""
    queue.conduct.quota_share_queues = frozenset((QUEUE,))
    backend = make(queue=QUEUE, quota_share="rides-gpu")
    job = _submit(backend, storage_url)
    _attempt(queue, job)
    queue.batch.preempt(job.id, finally_=finally_)
    if not finally_:
        _attempt(queue, job, number=2).finish("Completed")
    _until(lambda: _status(backend, job).finished)
    event = backend.describe(job.id).event
    expected = (JobStatus.FAILED, FailureReason.PREEMPTED) if finally_ else (JobStatus.SUCCEEDED, None)
    assert (event.status, event.reason) == expected


def test_a_create_that_sagemaker_refuses(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """It is found out long after the submission, and is a failure that says what to mend."""
    queue.conduct.roles = frozenset()
    job = _submit(backend, storage_url)
    _until(lambda: _status(backend, job).finished)
    event = backend.describe(job.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert "Could not assume role" in event.message


@pytest.mark.parametrize("rejects", [True, False])
@pytest.mark.parametrize("fault", [faults.LOST, faults.LOST_AFTER, faults.BROKEN_AFTER, faults.THROTTLED])
def test_a_lost_answer_is_no_second_job(
    queue: Service, backend: SageMakerBackend, storage_url: str, fault: faults.Fault, rejects: bool
) -> None:
    """The client token makes repetitions one request, however Batch answers the second."""
    queue.conduct.rejects_repeats = rejects
    queue.faults.add("SubmitServiceJob", fault)
    job = _submit(backend, storage_url)
    assert [one["jobName"] for one in queue.batch._jobs.values()] == [job.id]
    assert backend.describe(job.id).id == job.id


def test_a_process_that_died_before_the_answer(queue: Service, make: Make, storage_url: str) -> None:
    """The next one finds the job by its name, long after Batch has forgotten the token."""
    job = spec(storage_url)
    make(queue=QUEUE).submit(make(queue=QUEUE).plan(job))
    queue.batch._tokens.clear()
    backend = make(queue=QUEUE)
    assert backend.submit(backend.plan(job)).id == job.id
    assert len(queue.batch._jobs) == 1
    with pytest.raises(Conflict):
        backend.submit(backend.plan(spec(storage_url, id=job.id)))


def test_a_doubt_names_the_job(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """Nobody knows whether it was accepted, and only so much is said; a look that fails sends nothing."""
    backend.aws.retry_budget.unanswered = 0
    queue.faults.add("SubmitServiceJob", faults.LOST)
    job = spec(storage_url)
    with pytest.raises(BackendUnavailable) as caught:
        backend.submit(backend.plan(job))
    assert caught.value.job_id == job.id
    queue.faults.add("ListServiceJobs", faults.LOST)
    with pytest.raises(BackendUnavailable) as caught:
        backend.submit(backend.plan(job))
    assert caught.value.job_id is None


@pytest.mark.parametrize("table", [{"queue": "no-such-queue"}, {"queue": QUEUE, "share": "rides"}])
def test_what_batch_refuses_is_told_kindly(queue: Service, make: Make, storage_url: str, table: dict[str, Any]) -> None:
    """A refusal is definite, so that a migration may fall back."""
    backend = make(**table)
    with pytest.raises(InvalidJob, match=r"sagemaker\.queue"):
        backend.submit(backend.plan(spec(storage_url)))


def test_a_job_of_nowhere(backend: SageMakerBackend) -> None:
    """It is in no queue either."""
    with pytest.raises(JobNotFound):
        backend.describe("eta-tsaaaaaaaaaaa")


def test_a_higher_priority_goes_first(queue: Service, make: Make, storage_url: str) -> None:
    """In a queue with shares."""
    queue.conduct.fair_queues = frozenset((QUEUE,))
    low, high = (make(queue=QUEUE, share="rides", priority=priority) for priority in (1, 9))
    running = [_submit(low, storage_url) for _ in range(2)]
    waiting, first = _submit(low, storage_url), _submit(high, storage_url)
    _attempt(queue, running[0]).finish("Completed")
    _attempt(queue, first)
    assert _status(low, waiting) is JobStatus.PENDING


def test_a_reader_of_the_log_waits_for_its_turn(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """The log begins under a name that nobody knew when it was asked for."""
    blockers = [_submit(backend, storage_url) for _ in range(2)]
    for blocker in blockers:
        _attempt(queue, blocker)
    queue.conduct.containers = True
    job = _submit(backend, storage_url, timeout=timedelta(minutes=5))
    lines: list[str] = []
    reader = threading.Thread(
        target=lambda: lines.extend(line.text for line in backend.logs(job.id, LogQuery(follow=True))), daemon=True
    )
    reader.start()
    for blocker in blockers:
        _attempt(queue, blocker).finish("Completed")
    reader.join(600)
    assert lines[0] == "hello"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (QUEUE, Verdict.OK),
        (f"arn:aws:batch:us-east-1:123456789012:job-queue/{QUEUE}", Verdict.OK),
        ("x", Verdict.FAILED),
    ],
)
def test_doctor_looks_at_the_queues(queue: Service, make: Make, name: str, verdict: Verdict) -> None:
    """A queue with another name than in AWS refuses every train job."""
    checks = {check.name: check.verdict for check in make(models={"eta": {"queue": name}}).diagnose()}
    assert checks["sagemaker: job queues"] is verdict


def test_a_job_that_batch_has_forgotten(
    queue: Service, backend: SageMakerBackend, make: Make, storage_url: str
) -> None:
    """Its training jobs stay, as those of any job: it is found, with its log, and no list knows more than a look."""
    job = _submit(backend, storage_url)
    first = _attempt(queue, job)
    first.finish("Failed", "InternalServerError: We encountered an internal error. Please try again.")
    trained = [first, _attempt(queue, job, number=2)]
    for number, training in enumerate(trained):
        stream = LogStream(queue.surroundings.logs, f"{training.name}/algo-1-1", number)
        stream.put(f"attempt {number}")
        stream.close()
    trained[1].finish("Completed")
    _until(lambda: _status(backend, job) is JobStatus.SUCCEEDED)
    queue.batch.clear()
    for one in (backend, make(queue=QUEUE)):
        assert one.describe(job.id).event.status is JobStatus.SUCCEEDED
        assert [line.text for line in one.logs(job.id, LogQuery())] == ["attempt 0", "attempt 1"]
        assert [record.id for record in one.list(JobQuery())] == [job.id]
    searches = queue.count("Search")
    _submit(backend, storage_url)
    assert queue.count("Search") == searches, "whoever submits has just made the name"


def test_a_list_asks_for_places_once(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """However many jobs wait."""
    queue.conduct.batch_queues = {QUEUE: 0}
    jobs = [_submit(backend, storage_url) for _ in range(4)]
    _until(lambda: all(one["status"] == "RUNNABLE" for one in queue.batch._jobs.values()))
    before = queue.count("GetJobQueueSnapshot")
    messages = [record.event.message for record in backend.list(JobQuery())]
    assert sorted(messages) == [f"number {place} in queue {QUEUE}" for place in range(1, len(jobs) + 1)]
    assert queue.count("GetJobQueueSnapshot") == before + 1


def test_a_warm_start_out_of_a_queue_is_told(queue: Service, make: Make, storage_url: str) -> None:
    """SageMaker notes the training job that took the instances over, whose name is Batch's."""
    queue.conduct.batch_queues = {QUEUE: 1}
    backend = make(queue=QUEUE, keep_alive="10m")
    jobs = [_submit(backend, storage_url) for _ in range(2)]
    for job in jobs:
        _attempt(queue, job).finish("Completed")
        _until(lambda job=job: _status(backend, job) is JobStatus.SUCCEEDED)
    assert [backend.timings(job.id).warm for job in jobs] == [None, True]


def test_the_time_in_the_queue_is_waiting(queue: Service, backend: SageMakerBackend, storage_url: str) -> None:
    """Before there is a training job, there is nothing else to tell."""
    jobs = [_submit(backend, storage_url) for _ in range(3)]
    _attempt(queue, jobs[0]).finish("Completed")
    assert next(phase.name for phase in backend.timings(jobs[2].id).phases) == "waiting"
    assert {phase.name for phase in backend.timings(jobs[0].id).phases} >= {"waiting", "running"}
