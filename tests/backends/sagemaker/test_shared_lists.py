"""Many processes, one account: together they keep to a share of its list rate, and miss nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Storage, WatchSet, open_storage
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.status import shared_lists
from lyftlearn_sagemaker.status.shared_lists import Listed, SharedLists
from tests.backends.sagemaker.conftest import ROLE, Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service

IS_QUIET = "LYFTLEARN_TEST_QUIET" in os.environ
"""Whether nothing else runs on this machine: then time can be measured."""
FOLLOWERS = """
import os, sys
from pathlib import Path
import boto3, lyftlearn_sagemaker.status.watcher  # once for all: what is read before a fork is shared
from lyftlearn.backend import BackendSettings, WatchSet
from lyftlearn_sagemaker import create
storage_url, home, rate, *ids = sys.argv[1:]
table = {"role": "%s", "region": "us-east-1", "lists_per_second": float(rate)}

def follow(job_id):
    backend = create(BackendSettings(name="sagemaker", table=table, home=Path(home), storage_url=storage_url))
    following = WatchSet()
    following.add(job_id)
    for event in backend.watch(following):
        os.write(1, f"{event.status} {event.job_id}\\n".encode())  # at once, so that lines stay whole
        if event.status.finished:
            following.close()

for job_id in ids:
    if not os.fork():
        follow(job_id)
        os._exit(0)
for _ in ids:
    assert os.wait()[1] == 0
"""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("load", [(4, 2.0), pytest.param((200, 0.5), marks=pytest.mark.slow)])
def test_processes_keep_to_their_share_together(
    service: Service, make: Make, storage_url: str, tmp_path: Path, load: tuple[int, float]
) -> None:
    """Counted at the service; every process knows the end of its job, within a minute where they have the machine."""
    processes, rate = load
    service.conduct.containers = False
    backend = make()
    jobs = [spec(storage_url) for _ in range(processes)]
    for job in jobs:
        backend.submit(backend.plan(job))
    ids = {job.id for job in jobs}
    with _following(storage_url, tmp_path, rate, ids) as followers:
        _await(followers, "running", ids)
        began, before = time.monotonic(), service.count("ListTrainingJobs")
        time.sleep(10)
        finished = time.monotonic()
        for job_id in ids:
            training = service.jobs.find(job_id)
            assert training
            training.finish("Completed")
        _await(followers, "succeeded", ids)
        seconds, lists = time.monotonic() - finished, service.count("ListTrainingJobs") - before
        assert 0 < lists <= rate * (time.monotonic() - began) + 1
        assert seconds < 60 or not IS_QUIET


@contextmanager
def _following(storage_url: str, home: Path, rate: float, ids: set[str]) -> Iterator[subprocess.Popen[str]]:
    """Follow each job in a process of its own; end those that are left."""
    command = [sys.executable, "-c", FOLLOWERS % ROLE, storage_url, str(home), str(rate), *ids]
    followers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield followers
    finally:
        with suppress(ProcessLookupError):
            os.killpg(followers.pid, signal.SIGKILL)
        followers.communicate()


def _await(followers: subprocess.Popen[str], status: str, ids: set[str]) -> None:
    """Read on until every process has told that its job has this status."""
    left = set(ids)
    assert followers.stdout
    for line in followers.stdout:
        told, job_id = line.split()
        left -= {job_id} if told == status else set()
        if not left:
            return
    raise AssertionError(f"{len(left)} processes ended before {status}")


class _Account:
    """What a list sees, and how often it was asked for."""

    def __init__(self) -> None:
        self.lists = 0

    def read(self, since: datetime, created: datetime) -> Listed:
        """List one job that has just changed."""
        del since, created
        self.lists += 1
        now = datetime.now(UTC)
        job = {"TrainingJobName": f"job-{self.lists}", "TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
        return Listed([{**job, "LastModifiedTime": now, "CreationTime": now}], now, 1)


@pytest.fixture
def storage(aws: str, storage_url: str) -> Storage:
    """A place of the test's own."""
    return open_storage(storage_url)


OLD = datetime(2026, 1, 1, tzinfo=UTC)


def _names(changes: list[dict[str, Any]] | None) -> list[str]:
    assert changes is not None
    return sorted(change["TrainingJobName"] for change in changes)


def test_one_lists_and_the_others_read(storage: Storage) -> None:
    """As long as the record is fresh, nobody asks AWS."""
    account = _Account()
    lists = [SharedLists(lambda: storage, 0.05) for _ in range(5)]
    assert [_names(one.changes(OLD, account.read)) for one in lists] == [["job-1"]] * 5
    assert account.lists == 1


def test_a_lister_that_died_is_replaced(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claim is void after a while, and until then the others make do with what was known."""
    account = _Account()

    def die(since: datetime, created: datetime) -> Listed:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SharedLists(lambda: storage, 2).changes(OLD, die)
    assert _names(SharedLists(lambda: storage, 2).changes(OLD, account.read)) == []
    monkeypatch.setattr(shared_lists, "CLAIMED_FOR", 0.0)
    assert _names(SharedLists(lambda: storage, 2).changes(OLD, account.read)) == ["job-1"]


def test_a_lister_that_was_overtaken_publishes_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it saw is old by then; the record stays whole."""
    account = _Account()
    monkeypatch.setattr(shared_lists, "CLAIMED_FOR", 0.0)

    def slow(since: datetime, created: datetime) -> Listed:
        SharedLists(lambda: storage, 2).changes(OLD, account.read)
        return account.read(since, created)

    assert _names(SharedLists(lambda: storage, 2).changes(OLD, slow)) == ["job-2"]
    monkeypatch.undo()
    assert _names(SharedLists(lambda: storage, 0.05).changes(OLD, account.read)) == ["job-1"]


GOOD: dict[str, Any] = {"jobs": {"a": ["InProgress", "Training", 1.0, 1.0]}, "until": 1.0, "oldest": 1.0}
GOOD |= {"oldest_at": 1.0, "pages": 1, "claim": ""}
ODD: list[dict[str, Any]] = [
    {"jobs": 1},
    {"jobs": {"a": 1}},
    {"jobs": {"a": ["InProgress"]}},
    {"jobs": {"a": ["InProgress", "Training", "now", 1.0]}},
    {"jobs": {"a": ["InProgress", "Training", 1e300, 1.0]}},
    {"until": "now"},
    {"until": float("nan")},
    {"oldest": 1e300},
    {"pages": "many"},
    {"pages": float("inf")},
]
GARBAGE = [b"", b"{}", b"[1]", b"\xff", b'{"jobs": 1}', *(json.dumps({**GOOD, **odd}).encode() for odd in ODD)]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_record_that_cannot_be_read_is_written_over(storage: Storage, garbage: bytes) -> None:
    """Somebody's mistake in a bucket must not blind everybody for ever."""
    storage.create(shared_lists.KEY, garbage)
    account = _Account()
    deadline = time.monotonic() + 30
    while not _names(SharedLists(lambda: storage, 2).changes(OLD, account.read)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert account.lists == 1


def test_the_next_list_looks_as_far_back_as_anybody_needs(storage: Storage) -> None:
    """A process that follows an old job must not be answered with lists that leave it out."""
    account, asked = _Account(), list[datetime]()

    def read(since: datetime, created: datetime) -> Listed:
        asked.append(created)
        return account.read(since, created)

    young, old = SharedLists(lambda: storage, 2), SharedLists(lambda: storage, 2)
    young.changes(OLD + timedelta(days=2), read)
    deadline = time.monotonic() + 30
    while len(asked) < 2:
        old.changes(OLD, read)
        young.changes(OLD + timedelta(days=2), read)
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert asked[1] == OLD


def test_without_the_storage_a_few_jobs_are_described(service: Service, make: Make, storage_url: str) -> None:
    """Nobody falls back on lists: two hundred processes that did would use up the account's rate."""
    service.conduct.containers = False
    writer, reader = make(), make(lists_per_second=2.0)
    job = spec(storage_url)
    writer.submit(writer.plan(job))

    def away() -> Storage:
        raise OSError("the storage is away")

    events = _events(reader, job.id, away)
    assert next(events).status is not JobStatus.SUCCEEDED
    training = service.jobs.find(job.id)
    assert training
    training.finish("Completed")
    assert any(event.status is JobStatus.SUCCEEDED for event in events)
    assert service.count("ListTrainingJobs") == 0


def _events(backend: SageMakerBackend, job_id: str, storage: Any) -> Iterator[JobEvent]:
    from lyftlearn_sagemaker.status.poller import Poller

    following = WatchSet()
    following.add(job_id)
    shared = SharedLists(storage, 2.0)
    poller = Poller(backend.aws, backend._finder, backend._recent, following, shared=shared)
    for _ in range(100):
        yield from poller.poll()
        time.sleep(0.1)
