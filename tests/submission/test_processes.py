"""Forked children, threads that cannot be had, and clients that are gone: nothing is shared, and nothing is left."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
import lyftlearn_kubernetes
import lyftlearn_local
import lyftlearn_sagemaker
from tests.doubles.old_and_new import Make


def in_child(work: Callable[[], object]) -> int:
    """Do `work` in a forked child, and return its exit code: 0 if it went well, 1 if it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:  # noqa: BLE001 - printed, and told by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def held_elsewhere(locks: Iterable[Any]) -> Iterator[None]:
    """Let another thread hold locks meanwhile."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            done.wait(600)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(600)
    try:
        yield
    finally:
        done.set()
        holder.join()


def test_a_forked_child_has_a_session_of_its_own(plugins: Path, make: Make) -> None:
    """Backends, storage, flags and journal hold connections: a child that used its parent's would read its answers."""
    client = make("off")
    job = client.train("eta", command="true")
    session = client._session

    def child() -> None:
        assert client._session is not session
        assert client._session.registry.get("old") is not session.registry.get("old")
        assert client.train("eta", command="true").wait("60s").status == "succeeded"
        assert job.wait("60s").status == "succeeded"

    assert in_child(child) == 0
    assert client._session is session
    assert len(list(client.jobs())) == 2


@pytest.mark.parametrize("held", ["client", "watch", "handles", "background"])
def test_a_lock_that_is_held_while_forking_holds_no_child(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """A thread of the parent may hold any lock at that moment, and is not there to give it back."""
    from lyftlearn._jobs import job as jobs

    client = make("rehearse")
    job = client.train("eta", command="true")
    job.wait("60s")
    assert client._session.recorder.drain(120)
    watch = client._session.watch_of(job.id)
    locks: dict[str, Any] = {
        "client": client._lock,
        "watch": watch._lock,
        "handles": jobs._observing,
        "background": client._session.recorder._background._lock,
    }

    def child() -> None:
        assert client.train("eta", command="true").wait("60s").status == "succeeded"
        job.refresh()
        assert client._session.recorder.drain(120)

    with held_elsewhere([locks[held]]):
        assert in_child(child) == 0


def _locks_of_modules() -> list[tuple[Any, str]]:
    """Every lock that a module of ours keeps, with the name that it has there."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    for package in (lyftlearn, lyftlearn_local, lyftlearn_kubernetes, lyftlearn_sagemaker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".runtime." not in module.name and not module.name.endswith("__main__"):
                with suppress(ModuleNotFoundError, AttributeError):  # of an extra, or a script of Alembic
                    importlib.import_module(module.name)
    modules = [module for name, module in sys.modules.items() if name.startswith("lyftlearn")]
    return [(of, name) for of in modules for name, value in vars(of).items() if isinstance(value, kinds)]


def test_no_module_keeps_a_lock_that_a_fork_leaves_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of a module outlives every client: a child would wait for it with its first job, or its first note."""
    monkeypatch.setattr("lyftlearn.history.background._SECONDS_UNTIL_FORK", 0.1)
    kept = _locks_of_modules()
    assert len(kept) >= 3

    def child() -> None:
        held = [f"{of.__name__}.{name}" for of, name in kept if not getattr(of, name).acquire(timeout=0)]
        assert not held, held

    with held_elsewhere([getattr(of, name) for of, name in kept]):
        assert in_child(child) == 0


def test_a_process_without_threads_still_submits(plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was accepted: that its record must wait is no error of the call."""
    client = make("rehearse")

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        first = client.train("eta", command="true")
    second = client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    rows = client._session.recorder.journal().select(__import__("sqlalchemy").text("select job_id from jobs"))
    assert {row["job_id"] for row in rows} == {first.id, second.id}


def test_clients_leave_no_thread(plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that makes a client for each request must not grow by a thread each time."""
    monkeypatch.setattr("lyftlearn.history.recorder._SECONDS_IDLE", 0.0)
    before = set(threading.enumerate())
    for _ in range(5):
        client = make("rehearse")
        client.train("eta", command="true").wait("60s")
        assert client._session.recorder.drain(120)
        del client
    gc.collect()
    made = set(threading.enumerate()) - before
    for thread in made:
        thread.join(600)
    assert [thread.name for thread in made if thread.is_alive()] == []


def test_a_forked_child_has_an_s3_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """On its parent's connections a child would be given another key's object, or wait for ever."""
    from lyftlearn._storage import open_storage

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    storage: Any = open_storage("s3://bucket/prefix")
    parents = storage.client
    assert storage.client is parents

    def child() -> None:
        assert storage.client is not parents

    assert in_child(child) == 0
    assert storage.client is parents


@pytest.mark.parametrize("endpoint", ["::", "http://[", "no scheme", "http://host:port"])
def test_a_malformed_endpoint_is_a_word(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What stands in a variable is typed by people."""
    from lyftlearn._storage import open_storage

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(lyftlearn.LyftLearnError):
        open_storage("s3://bucket/prefix").read("claims/x")
