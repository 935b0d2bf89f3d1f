"""Studies in the storage: small, quick to read, and whole whoever writes them at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn._storage import LARGEST_RECORD, Storage, Stored, open_storage
from lyftlearn._studies.ledger import CHUNK, StudyReader, StudyWriter
from lyftlearn._studies.study import Study
from lyftlearn._studies.trial_record import TrialRecord, best_record
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus

BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)


def study(trials: int = 1_000, goal: str = "minimize") -> Study:
    objective = ["Objective", {"name": "rmse", "goal": goal, "pattern": "rmse=(.*)"}]
    space = {
        "learning_rate": ["Uniform", {"low": 0.0, "high": 0.1}],
        "depth": ["IntUniform", {"low": 0, "high": 9}],
        "kind": ["Choice", {"values": [1, "1", True]}],
    }
    search = {"space": space, "objective": objective, "trials": trials, "parallel": 4, "strategy": "random"}
    trial: dict[str, Any] = {"hyperparameters": {}}
    return Study({"format": 1, "id": "eta-hlaaaaaaaaaaa", "search": search, "trial": trial, "output_url": "s3://b/o"})


def drawn(number: int) -> TrialRecord:
    draw = {"learning_rate": 0.1 / (number + 1), "depth": number % 9, "kind": number % 3}
    return TrialRecord(number=number, draw=draw, job_id=f"eta-tl{number:011}", asked_at=BEGAN)


def ended(number: int, objective: float | None = 0.5) -> TrialRecord:
    status = JobStatus.FAILED if objective is None else JobStatus.SUCCEEDED
    record = drawn(number)
    end = JobEvent(
        job_id=record.job_id,
        status=status,
        at=BEGAN + timedelta(minutes=number, microseconds=1),
        reason=FailureReason.USER_ERROR if objective is None else None,
        message="ValueError: no rides" if objective is None else "",
        exit_code=0 if objective is not None else 3,
        attempt=2,
        created_at=BEGAN,
        started_at=BEGAN + timedelta(seconds=1),
    )
    return replace(record, end=end, objective=objective, message=end.message)


class CountingStorage(Storage):
    """A storage that counts what it is asked, and the bytes that are written."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.url = storage.url
        self.requests: list[str] = []
        self.bytes = 0

    def create(self, key: str, data: bytes) -> bool:
        return self._storage.create(key, data)

    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        self.requests.append(f"read {key}")
        return self._storage.read(key, largest)

    def replace(self, key: str, data: bytes, version: str) -> bool:
        return self._storage.replace(key, data, version)

    def write(self, key: str, data: bytes, version: str | None) -> str | None:
        self.requests.append(f"write {key}")
        self.bytes += len(data)
        return self._storage.write(key, data, version)

    def upload(self, key: str, path: Path, sha256: str) -> str:
        return self._storage.upload(key, path, sha256)

    def uri(self, key: str) -> str:
        return self._storage.uri(key)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


def test_a_record_comes_back_as_it_was(storage: Storage) -> None:
    """Floats to the last bit, times, reasons: what a driver resumes from must be what was there."""
    records = [drawn(0), ended(1), ended(2, None), ended(3, 0.0)]
    writer = StudyWriter(storage, study())
    writer.open()
    writer.keep(records)
    assert StudyReader(storage, study().id).records() == records


def test_nothing_is_there_before_the_driver_began(storage: Storage) -> None:
    """`trials()` of a search that waits for a machine is empty, and no error."""
    reader = StudyReader(storage, "eta-hlaaaaaaaaaaa")
    assert (reader.study(), reader.records(), reader.is_stopped()) == (None, [], False)


def test_a_thousand_trials_are_small_and_soon_read(storage: Storage, tmp_path: Path) -> None:
    """1,000 trials stay under 20 MB, the end of one rewrites its hundred alone, and what is complete is read once."""
    counting = CountingStorage(storage)
    writer = StudyWriter(counting, study())
    writer.open()
    writer.keep([ended(number) for number in range(990)])
    counting.bytes = 0
    for number in range(990, 1_000):
        writer.keep([drawn(number)])
        writer.keep([ended(number)])
    assert sum(path.stat().st_size for path in (tmp_path / "storage" / "tuning").rglob("*.json")) < 20e6
    assert counting.bytes / 20 < CHUNK * 500
    reader = StudyReader(counting, study().id)
    counting.requests.clear()
    assert len(reader.records()) == 1_000
    assert len(counting.requests) == 1 + 1_000 // CHUNK
    counting.requests.clear()
    assert len(reader.records()) == 1_000
    assert counting.requests == []


def test_two_drivers_of_one_study_lose_nothing(storage: Storage) -> None:
    """A driver that was replaced and has not noticed writes at the same time as its successor."""
    one, other = StudyWriter(storage, study()), StudyWriter(storage, study())
    one.open()
    one.keep([drawn(0), drawn(1)])
    other.open()
    other.keep([ended(0)])
    one.keep([ended(1)])
    other.keep([drawn(2)])
    records = StudyReader(storage, study().id).records()
    assert records == [ended(0), ended(1), drawn(2)] == list(other.known.values())


def test_what_stood_first_counts(storage: Storage) -> None:
    """A trial that another driver drew otherwise was submitted by what stands, and an end is never taken back."""
    one, other = StudyWriter(storage, study()), StudyWriter(storage, study())
    one.open()
    other.open()
    one.keep([drawn(0)])
    other.keep([replace(drawn(0), draw={"depth": 9})])
    assert other.known[0] == drawn(0)
    one.keep([ended(0)])
    other.keep([drawn(0), replace(ended(0), objective=0.1)])
    assert other.known[0] == ended(0)


TRIAL = '{"format": 1, "trials": [{"number": 0, "job": "eta-tlx", "asked_at": 1, %s}]}'


@pytest.mark.parametrize("name", ["study.json", "00000.json"])
@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"format": 7}', '{"format": 1, "search": {"space": []}}', '{"format": 1, "trials": [{}]}'),
        TRIAL % '"draw": {"moon": 1}',
        TRIAL % '"draw": {"kind": 3}',
        TRIAL % '"draw": {"kind": 0}, "objective": NaN',
        TRIAL % '"draw": {"kind": 0}, "objective": "low"',
    ],
)
def test_what_is_damaged_is_named(storage: Storage, tmp_path: Path, name: str, content: str) -> None:
    """Others can write to the storage: what is no record is said with its place, and never a traceback."""
    writer = StudyWriter(storage, study())
    writer.open()
    writer.keep([drawn(0)])
    path = tmp_path / "storage" / "tuning" / study().id / name
    path.write_text(content)
    if name == "00000.json" and "search" in content:
        return  # a document without trials
    with pytest.raises(LyftLearnError, match=name):
        StudyReader(storage, study().id).records()


@pytest.mark.parametrize(("goal", "best"), [("minimize", 1), ("maximize", 0)])
def test_the_first_of_equals_is_the_best(goal: str, best: int) -> None:
    """Which of two equal trials is the best must not depend on who ended first."""
    objectives: list[Any] = [0.5, 0.1, 0.1, None, 0.5]
    records = [ended(number, objective) for number, objective in enumerate(objectives)]
    found = best_record(study(goal=goal), reversed(records))
    assert found is not None
    assert found.number == best
