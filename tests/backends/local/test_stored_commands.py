"""What job.json stores is executed by later versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lyftlearn_local
from lyftlearn.backend import Backend, JobSpec, Plan, Request
from lyftlearn.types import JobStatus

from .conftest import MakeBackend, finish, lines

MakeSpec = Callable[..., JobSpec]
ROOT = str(Path(lyftlearn_local.__file__).parent.parent)


def command_of_1_0(module: str, *options: str, also: str | None = None) -> list[str]:
    """Return the command as version 1.0.0 stored it."""
    inserted = [path for path in (ROOT, also) if path]
    begin = f"import sys; sys.path[:0] = {inserted!r}; from lyftlearn_local.{module} import main; main()"
    return [sys.executable, *options, "-c", begin]


def with_run(plan: Plan, **changes: Any) -> Plan:
    """Return `plan` with other settings for its supervisor."""
    bundle, record, start = plan.requests
    body = {**record.body, "run": {**record.body["run"], **changes}}
    return replace(plan, requests=(bundle, Request(operation=record.operation, body=body), start))


@pytest.mark.parametrize("layout", ["local", "local-kubernetes", "local-sagemaker"])
def test_a_job_that_1_0_0_wrote(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, layout: str) -> None:
    """A job waits in the queue while lyftlearn is upgraded: its stored command names modules of the old version."""
    backend = make_backend(layout)
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.csv").write_text("1,2")
    inputs = {"train": (tmp_path / "train").as_uri()}
    plan = backend.plan(
        make_spec('cat "$LYFTLEARN_INPUTS_DIR/train/a.csv"; echo > "$LYFTLEARN_MODEL_DIR/m"', inputs=inputs)
    )
    changes: dict[str, Any] = {"supervisor": command_of_1_0("_supervisor", "-I", "-S")}
    if layout == "local-sagemaker":
        runtime = tmp_path / "home" / layout / "jobs" / plan.spec.id / "runtime.pyz"
        changes["platform"] = command_of_1_0("_transfer", "-I", also=str(runtime))
    backend.submit(with_run(plan, **changes))
    assert finish(backend, plan.spec.id).event.status is JobStatus.SUCCEEDED, lines(backend, plan.spec.id)
    assert lines(backend, plan.spec.id)[0] == "1,2"


def test_the_stored_command_names_one_entry(backend: Backend, make_spec: MakeSpec) -> None:
    """Only `python -m lyftlearn_local` is promised to later versions, so nothing else may be stored."""
    run = backend.plan(make_spec("true")).requests[1].body["run"]
    assert "from lyftlearn_local.__main__ import main; main()" in run["supervisor"][-2]
    assert run["supervisor"][-1] == "supervise"


def test_the_entry_as_a_module(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A person who debugs a job runs its supervisor by hand."""
    spec = make_spec("true")
    plan = backend.plan(spec)
    backend.submit(with_run(plan, supervisor=["/bin/true"]))
    job = tmp_path / "home/local/jobs" / spec.id
    subprocess.run([sys.executable, "-m", "lyftlearn_local", "supervise", str(job)], check=True)
    assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED
