"""The files of a job survive what happens to files."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lyftlearn.backend import words
from lyftlearn_local.store import files as store_files
from lyftlearn_local.store.files import JobFiles, Store, event, process_start
from lyftlearn_local.store.locks import Lock
from lyftlearn_local.supervisor import outcome


@pytest.fixture
def job(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path)


def test_events_come_back_in_order(job: JobFiles) -> None:
    """What was appended is what is read."""
    for status in ("starting", "running", "succeeded"):
        job.append(event(status))
    assert [known["status"] for known in job.events()] == ["starting", "running", "succeeded"]


def test_no_events_before_the_first(job: JobFiles) -> None:
    """A job that waits has no file of events."""
    assert job.events() == []


@pytest.mark.parametrize("torn", [b'\n{"status": "run', b"\n{", b"\n", b'\n{"status": "\xff'])
def test_a_torn_line_is_skipped_and_harms_no_later_one(job: JobFiles, torn: bytes) -> None:
    """A crash in the middle of a write must not make the whole history unreadable."""
    job.append(event("starting"))
    with job.events_path.open("ab") as file:
        file.write(torn)
    assert [known["status"] for known in job.events()] == ["starting"]
    job.append(event("failed"))
    assert [known["status"] for known in job.events()] == ["starting", "failed"]


def test_a_file_that_something_has_filled(job: JobFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the job's own user may write there: its beginning and its end are read, and no more of it."""
    monkeypatch.setattr("lyftlearn_local.store.files._MOST_OF_EVENTS", 4096)
    job.append(event("starting"))
    with job.events_path.open("ab") as file:
        file.write(b"[" * 100_000)
    job.append(event("failed"))
    assert [known["status"] for known in job.events()] == ["starting", "failed"]
    with job.events_path.open("ab") as file:
        file.truncate(1 << 40)  # a hole, which no memory holds
    assert job.events()[0]["status"] == "starting"


def test_the_end_is_written_from_the_reserve(job: JobFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the one thing left to say is that it is full."""
    reserve = job.path / "reserve"
    reserve.write_bytes(b"x")
    real = store_files._append

    def full_until_released(path: Path, data: bytes, *, lasting: bool) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data, lasting=lasting)

    monkeypatch.setattr(store_files, "_append", full_until_released)
    job.append(event("failed"))
    assert [known["status"] for known in job.events()] == ["failed"]


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    """Two supervisors of one job would run it twice; a dead one must not keep it."""
    first = Lock.take(tmp_path / "lock")
    assert first
    assert Lock.take(tmp_path / "lock") is None
    first.release()
    again = Lock.take(tmp_path / "lock")
    assert again
    again.release()


def test_a_lock_does_not_pass_to_programs(tmp_path: Path) -> None:
    """A job's own processes may outlive its supervisor, and would keep the job locked."""
    lock = Lock.take(tmp_path / "lock")
    assert lock
    assert not os.get_inheritable(lock._descriptor)
    lock.release()


def test_the_queue_is_in_order_of_creation(tmp_path: Path) -> None:
    """Who came first runs first, whatever the ids."""
    store = Store(tmp_path)
    store.make()
    for job_id, created_at in (("a-late", 30.0), ("z-early", 9.5), ("m-middle-1", 20.0)):
        store.enqueue(job_id, created_at)
    assert store.waiting() == ["z-early", "m-middle-1", "a-late"]
    store.dequeue("z-early", 9.5)
    store.forget("m-middle-1")
    store.forget("late")
    assert store.waiting() == ["a-late"]


def test_slots_run_out(tmp_path: Path) -> None:
    """The machine is not to be shared by more jobs than were allowed."""
    store = Store(tmp_path)
    store.make()
    taken = [store.take_slot({"parallel": 2}) for _ in range(3)]
    assert [lock is not None for lock in taken] == [True, True, False]
    for lock in taken:
        if lock:
            lock.release()


ROUNDS, PROCESSES = 40, 6
TAKE = """
import sys
from pathlib import Path
from lyftlearn_local.store.files import Store

store = Store(Path(sys.argv[1]))
for number in sys.stdin:
    lock = store.take_slot({"parallel": 1})
    print(int(lock is not None), flush=True)
    sys.stdin.readline()
    if lock:
        lock.release()
    print("ready", flush=True)
"""


def test_of_many_that_put_a_damaged_slot_aside_one_has_it(tmp_path: Path) -> None:
    """Who came second failed its job, or moved the file that the first had made, and two had one slot."""
    store = Store(tmp_path)
    store.make()
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    with contextlib.ExitStack() as stack:
        for process in racing:
            stack.enter_context(process)
        for _ in range(ROUNDS):
            (store.slots / "0").mkdir()
            assert sorted(_answers(racing, "take")) == [*["0"] * (PROCESSES - 1), "1"]
            assert _answers(racing, "release") == ["ready"] * PROCESSES
            (store.slots / "0").unlink()
    assert len(list(store.temporary.iterdir())) == ROUNDS


def _answers(processes: list[subprocess.Popen[str]], question: str) -> list[str]:
    """Ask all at once."""
    for process in processes:
        assert process.stdin
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in processes if process.stdout]


def test_a_process_is_told_by_its_start() -> None:
    """A pid that was given to another process must not be signalled."""
    assert process_start(os.getpid()) == process_start(os.getpid())
    assert process_start(os.getpid()) != process_start(1) or os.getpid() == 1
    assert process_start(2**22 + 1) is None


def test_the_supervisor_says_what_every_backend_says() -> None:
    """It starts with each job and loads nothing of the contract, so it has two sentences of its own."""
    said = (store_files.ASKED_TO_STOP, outcome.MEMORY_WORDS)
    assert said == (words.STOP_REQUESTED, words.OUT_OF_MEMORY)
