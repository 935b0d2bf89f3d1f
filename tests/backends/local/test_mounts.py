"""Mounts on this machine: a directory stands for each, in every layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, BackendSettings, JobSpec, Mount
from lyftlearn.types import FailureReason, JobKind
from lyftlearn_local import create
from tests import images
from tests.backends.local.conftest import finish, lines, run
from tests.containers import require_containers

LAYOUTS = ("local", "local-kubernetes", "local-sagemaker")
COPY = """
cat $LYFTLEARN_INPUTS_DIR/rides/jan.txt $LYFTLEARN_INPUTS_DIR/one/jan.txt
touch $LYFTLEARN_INPUTS_DIR/rides/feb.txt 2>/dev/null && echo written
echo 3 > $LYFTLEARN_OUTPUTS_DIR/copy/mar.txt
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files" / "rides").mkdir(parents=True)
    (tmp_path / "files" / "rides" / "jan.txt").write_text("1\n")
    return tmp_path / "files"


def make(tmp_path: Path, name: str, table: dict[str, Any], **options: Any) -> Backend:
    if options.get("namespaces") != "never":
        require_containers()
    mounts = (Mount(name="data", path="/data", table=table),)
    settings = BackendSettings(
        name=name, table=options, home=tmp_path / "home", storage_url=tmp_path.as_uri(), mounts=mounts
    )
    return create(settings)


def reading(make_spec: Callable[..., JobSpec], command: str = COPY) -> JobSpec:
    inputs = {"rides": "file:///data/rides/", "one": "file:///data/rides/jan.txt"}
    return make_spec(command, kind=JobKind.PROCESS, inputs=inputs, outputs={"copy": "file:///data/copies/"})


@pytest.mark.parametrize("name", LAYOUTS)
def test_jobs_find_the_directory(tmp_path: Path, files: Path, make_spec: Callable[..., JobSpec], name: str) -> None:
    """At the path of every input, and read-only; outputs lie there under their names."""
    backend = make(tmp_path, name, {"directory": str(files)})
    spec = reading(make_spec)
    run(backend, spec)
    assert lines(backend, spec.id) == ["1", "1"]
    assert (files / "copies" / "mar.txt").read_text() == "3\n"
    assert [path.name for path in (files / "rides").iterdir()] == ["jan.txt"]


def test_a_job_in_an_image_finds_the_directory(tmp_path: Path, files: Path, make_spec: Callable[..., JobSpec]) -> None:
    """The engine mounts it: read-only for inputs, and writable where an output goes."""
    engine = images.require_engine()
    backend = make(tmp_path, "local", {"directory": str(files)}, containers="auto")
    spec = replace(reading(make_spec), image=images.python_image(engine))
    run(backend, spec)
    assert lines(backend, spec.id) == ["1", "1"]
    assert (files / "copies" / "mar.txt").read_text() == "3\n"
    assert [path.name for path in (files / "rides").iterdir()] == ["jan.txt"]


def test_without_namespaces(tmp_path: Path, files: Path, make_spec: Callable[..., JobSpec]) -> None:
    """Then nothing can be mounted, and the links lead to the directory itself."""
    backend = make(tmp_path, "local", {"directory": str(files)}, namespaces="never")
    spec = reading(make_spec, "cat $LYFTLEARN_INPUTS_DIR/rides/jan.txt")
    run(backend, spec)
    assert lines(backend, spec.id) == ["1"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_missing_is_said_by_the_plan(
    tmp_path: Path, files: Path, make_spec: Callable[..., JobSpec], name: str
) -> None:
    """This machine can be looked at; a directory that is missing and a file that is missing are told apart."""
    ((path, problem),) = make(tmp_path, name, {"directory": str(tmp_path / "gone")}).plan(reading(make_spec)).faults
    assert path == f"mounts.data.{name}"
    assert "is not a directory" in problem
    absent = make_spec("true", inputs={"x": "file:///data/trips"})
    assert [path for path, _ in make(tmp_path, name, {"directory": str(files)}).plan(absent).faults] == ["inputs.x"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_links_that_lead_out(tmp_path: Path, files: Path, make_spec: Callable[..., JobSpec], name: str) -> None:
    """What works only on this machine must fail here, too."""
    (files / "away").symlink_to("/etc")
    backend = make(tmp_path, name, {"directory": str(files)})
    spec = make_spec(
        "true", inputs={"x": "file:///data/away/../away" if name != "local-sagemaker" else "file:///data/away"}
    )
    plan = backend.plan(spec)
    assert plan.faults == ()
    backend.submit(plan)
    event = finish(backend, spec.id).event
    assert event.reason is FailureReason.CONFIGURATION
    assert "leads out of its mount" in (event.message or "")
