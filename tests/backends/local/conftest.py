"""Jobs on this machine, small and quick."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from lyftlearn.backend import Backend, BackendSettings, JobRecord, JobSpec, LogQuery, ResourceRequest, new_id
from lyftlearn.types import JobKind
from lyftlearn_local import create
from tests.containers import require_containers

PATIENCE = 600.0
GIB = 1 << 30


class MakeBackend(Protocol):
    """Make a backend, as another process would make it again."""

    def __call__(self, name: str = "local", **table: Any) -> Backend: ...


@pytest.fixture
def make_backend(tmp_path: Path) -> MakeBackend:
    """Return a maker of backends that share a home."""

    def make(name: str = "local", **table: Any) -> Backend:
        if name != "local" and "namespaces" not in table:
            require_containers()
        return create(BackendSettings(name=name, table=table, home=tmp_path / "home", storage_url=tmp_path.as_uri()))

    return make


@pytest.fixture
def backend(make_backend: MakeBackend) -> Backend:
    """Return the backend `local` with its defaults."""
    return make_backend()


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., JobSpec]:
    """Return a maker of specs."""
    numbers = itertools.count()

    def make(command: str | tuple[str, ...], **changes: Any) -> JobSpec:
        kind = changes.pop("kind", JobKind.TRAIN)
        job_id = changes.pop("id", None) or new_id("test", kind, "l")
        fields: dict[str, Any] = {
            "command": ("/bin/sh", "-c", textwrap.dedent(command)) if isinstance(command, str) else command,
            "outputs": {"output": None},
            "output_uri": f"{tmp_path.as_uri()}/outputs/{job_id}",
            "digest": f"{next(numbers):064x}",
        }
        return JobSpec(**{**_DEFAULTS, **fields, **changes, "id": job_id, "kind": kind})

    return make


_DEFAULTS: dict[str, Any] = {
    "name": "test",
    "image": None,
    "source": None,
    "hyperparameters": "{}",
    "inputs": {},
    "artifact": None,
    "env": {},
    "secrets": (),
    "resources": ResourceRequest(cpu=1, memory=GIB, gpu=0, gpu_type=None, disk=GIB, shared_memory=None),
    "nodes": 1,
    "timeout": timedelta(minutes=5),
    "grace": timedelta(seconds=5),
    "retries": 0,
    "labels": {},
    "decision": "{}",
}


def submit(backend: Backend, spec: JobSpec) -> JobRecord:
    """Plan and submit."""
    plan = backend.plan(spec)
    assert plan.faults == ()
    return backend.submit(plan)


def finish(backend: Backend, job_id: str) -> JobRecord:
    """Return the record once the job has finished."""
    return until(backend, job_id, lambda record: record.event.status.finished)


def run(backend: Backend, spec: JobSpec) -> JobRecord:
    """Submit, and wait for the end."""
    submit(backend, spec)
    return finish(backend, spec.id)


def until(backend: Backend, job_id: str, wanted: Callable[[JobRecord], bool]) -> JobRecord:
    """Return the first record that is as wanted."""
    eventually(lambda: wanted(backend.describe(job_id)), f"{job_id} as wanted")
    return backend.describe(job_id)


def eventually(look: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `look`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.02)
    pytest.fail(f"not within {PATIENCE:.0f} s: {what}")


def lines(backend: Backend, job_id: str, **query: Any) -> list[str]:
    """Return the text of the job's lines."""
    return [line.text for line in backend.logs(job_id, LogQuery(**query))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start JupyterLab once less: `test_notebook` opens a notebook from its first cell to its second run."""
    for item in items:
        if item.name == "test_a_notebook_is_open_until_it_is_stopped" and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
