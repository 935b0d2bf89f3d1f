"""A supervisor that has ended its job takes the next, and no job is lost between the two."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, JobSpec
from lyftlearn.types import JobStatus
from lyftlearn_local.store import idle
from lyftlearn_local.store.files import JobFiles, Store

from .conftest import eventually, finish, lines, until

MakeSpec = Callable[..., JobSpec]


def supervisor_of(store: Store, job_id: str) -> int:
    pid: int = next(event["supervisor"][0] for event in store.job(job_id).events() if "supervisor" in event)
    return pid


def idle_fifos(store: Store, pid: int) -> list[Path]:
    return list(store.idle.glob(f"*-{pid}"))


def run(backend: Backend, spec: JobSpec) -> str:
    backend.submit(backend.plan(spec))
    assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    return spec.id


def run_until_idle(backend: Backend, spec: JobSpec, store: Store) -> int:
    pid = supervisor_of(store, run(backend, spec))
    while not idle_fifos(store, pid):
        os.kill(pid, 0)  # as long as it lives it may still come to wait
        time.sleep(0.01)
    return pid


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(tmp_path / "home/local")


def test_the_next_job_has_the_same_supervisor(backend: Backend, make_spec: MakeSpec, store: Store) -> None:
    """An interpreter's start is most of what a short job would wait for. Each job keeps its own words and variables."""
    pid = run_until_idle(backend, make_spec("echo first; echo $LYFTLEARN_JOB_ID"), store)
    second = make_spec("echo $LYFTLEARN_JOB_ID")
    run(backend, second)
    assert supervisor_of(store, second.id) == pid
    assert lines(backend, second.id)[0] == second.id
    os.kill(pid, signal.SIGTERM)


def test_as_many_wait_as_have_run(backend: Backend, make_spec: MakeSpec, store: Store, tmp_path: Path) -> None:
    """A script that submits hundreds would else start a supervisor for nearly each: most of what short jobs take."""
    go, count = tmp_path / "go", (os.cpu_count() or 1) + 2
    specs = [make_spec(f"until [ -e {go} ]; do sleep 0.02; done") for _ in range(count)]
    for spec in specs:
        backend.submit(backend.plan(spec))
    for spec in specs:
        until(backend, spec.id, lambda record: record.event.status is JobStatus.RUNNING)
    go.touch()
    pids = {supervisor_of(store, spec.id) for spec in specs}
    eventually(lambda: all(idle_fifos(store, pid) for pid in pids), "all that wait")
    assert len(pids) == count


def test_one_whose_job_has_run_waits_too(backend: Backend, make_spec: MakeSpec, store: Store) -> None:
    """One that ends takes the job of one that is still starting, which is as good for the next."""
    job = store.job(run(backend, make_spec("true")))
    with subprocess.Popen([*job.record()["run"]["supervisor"], str(job.path)]) as process:
        eventually(lambda: idle_fifos(store, process.pid) or process.poll() is not None, "its wait")
        waits = bool(idle_fifos(store, process.pid))
        process.terminate()
    assert waits


def test_one_that_was_killed_takes_none(backend: Backend, make_spec: MakeSpec, store: Store) -> None:
    """What it leaves looks as if it waited."""
    pid = run_until_idle(backend, make_spec("true"), store)
    os.kill(pid, signal.SIGKILL)
    second = make_spec("true")
    run(backend, second)
    assert supervisor_of(store, second.id) != pid


def test_a_submitter_elsewhere_starts_its_own(
    backend: Backend, make_spec: MakeSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is held to the limits of whoever submitted it."""
    pid = run_until_idle(backend, make_spec("true"), store)
    monkeypatch.setattr(os, "nice", lambda _: 7)
    second = make_spec("true")
    run(backend, second)
    assert supervisor_of(store, second.id) != pid


def test_a_wait_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves nothing that a job could be handed to."""
    monkeypatch.setattr(idle, "PATIENCE", 0.01)
    store.make()
    assert idle.wait_for_job(store, "here") is None
    assert not list(store.idle.iterdir())
    assert not idle.hand_over(store, "here", "job")


def test_no_job_is_lost_where_a_wait_ends_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was told that the job was taken must be right."""
    monkeypatch.setattr(idle, "PATIENCE", 0.0)
    store.make()
    taken: list[JobFiles | None] = []
    waiting = threading.Thread(target=lambda: taken.extend(idle.wait_for_job(store, "here") for _ in range(300)))
    waiting.start()
    handed = 0
    while waiting.is_alive():
        handed += idle.hand_over(store, "here", f"job-{handed}")
    waiting.join()
    names = [job.path.name for job in taken if job]
    assert names == [f"job-{number}" for number in range(handed)]


def test_a_wait_does_not_end_while_a_job_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is what the two agree by."""
    opened, writers = idle._open_fifo, []

    def open_and_lock(path: Path) -> int:
        fifo = opened(path)
        writers.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        fcntl.flock(writers[0], fcntl.LOCK_EX)
        return fifo

    monkeypatch.setattr(idle, "PATIENCE", 0.001)
    monkeypatch.setattr(idle, "_open_fifo", open_and_lock)
    store.make()
    taken: list[JobFiles | None] = []
    waiting = threading.Thread(target=lambda: taken.append(idle.wait_for_job(store, "here")))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    os.write(writers[0], b"late\n")
    waiting.join()
    assert taken[0]
    assert taken[0].path.name == "late"
