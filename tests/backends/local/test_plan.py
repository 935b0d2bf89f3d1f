"""A plan says what would be done, and every reason against it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, BackendSettings, Capability, JobSpec, Request, ResourceRequest, Verdict
from lyftlearn.errors import AccessDenied, Conflict
from lyftlearn.types import FailureReason, JobKind
from lyftlearn_local import cgroups, create
from lyftlearn_local.containers.engine import Engine, find_engine
from lyftlearn_local.planning import planner
from lyftlearn_local.supervisor import sandbox

from .conftest import GIB, MakeBackend, finish, run, submit

MakeSpec = Callable[..., JobSpec]


def test_a_plan_is_plain_data(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """It is shown to people, kept in reports, and writes nothing."""
    plan = backend.plan(make_spec("true"))
    assert json.loads(json.dumps([dict(request.body) for request in plan.requests]))
    assert [request.operation for request in plan.requests] == [
        "write bundle.json",
        "write job.json",
        "start supervisor",
    ]
    assert plan == backend.plan(plan.spec)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("layout", ["local", "local-kubernetes", "local-sagemaker"])
def test_somebody_listens_for_metrics(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """A program that counts hears of no refusal on any platform, also where no gateway is configured."""
    bundle = make_backend(layout).plan(make_spec("true")).requests[0].body
    assert bundle["metrics"] == {"relay": True, "gateway": None, "socket": None}


def test_every_fault_at_once(backend: Backend, make_spec: MakeSpec) -> None:
    """Who mends one fault should not meet the next only then."""
    huge = ResourceRequest(cpu=1, memory=1 << 60, gpu=0, gpu_type=None, disk=GIB, shared_memory=None)
    spec = make_spec(
        "true",
        kind=JobKind.TUNE,
        nodes=2,
        retries=1,
        resources=huge,
        inputs={"a": "http://x/y"},
        artifact="gs://b/c",
    )
    faults = dict(backend.plan(spec).faults)
    assert faults.keys() == {"retries", "resources.memory", "inputs.a", "artifact"}
    assert "this machine has" in faults["resources.memory"]


def test_s3_without_boto3(backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before the job trains for an hour and cannot keep its model."""
    monkeypatch.setattr(planner, "_has_boto3", lambda: False)
    faults = dict(backend.plan(make_spec("true", output_uri="s3://bucket/x")).faults)
    assert "pip install boto3" in faults["output"]


def test_notes(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """What is asked for and has no effect here is said, and is no fault."""
    much = ResourceRequest(cpu=4096, memory=GIB, gpu=1, gpu_type=None, disk=GIB, shared_memory=None)
    plan = make_backend(containers="never").plan(make_spec("true", image="team/image:1", resources=much))
    assert plan.faults == ()
    assert "team/image:1" in " ".join(plan.notes)
    assert "4096 cores" in " ".join(plan.notes)
    typed = ResourceRequest(cpu=1, memory=GIB, gpu=0, gpu_type="H100", disk=1 << 60, shared_memory=1 << 20)
    notes = " ".join(make_backend(namespaces="never").plan(make_spec("true", resources=typed)).notes)
    for resource in ("gpu_type: H100", "disk: 1073741824.0 GiB", "shared_memory"):
        assert f"resources.{resource}" in notes


@pytest.mark.parametrize("layout", ["local", "local-kubernetes", "local-sagemaker"])
def test_an_image_that_must_be_used(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """Whoever asks for the image's own libraries would rather have no result than one of other libraries."""
    backend = make_backend(layout, containers="never", image_required=True)
    assert backend.plan(make_spec("true")).faults == ()
    faults = dict(backend.plan(make_spec("true", image="team/image:1")).faults)
    assert faults == {
        "image": f"team/image:1 cannot be run here, and {layout}.image_required is set: "
        'switched off by containers = "never"'
    }


@pytest.mark.parametrize(
    ("script", "variables", "reason"),
    [
        (None, {}, "podman is not installed; docker is not installed"),
        ("exit 1", {}, "podman does not answer (it says nothing)"),
        ("echo no socket >&2; exit 1", {}, "podman does not answer (no socket)"),
        ('echo \'{"ServerErrors": ["no daemon"]}\'', {}, "podman does not answer (no daemon)"),
        ("exit 0", {"CONTAINER_HOST": "ssh://elsewhere"}, "podman would run it on another machine (CONTAINER_HOST)"),
    ],
)
def test_an_engine_that_cannot_be_used(
    *,
    make_backend: MakeBackend,
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    variables: dict[str, str],
    reason: str,
) -> None:
    """The plan says what is missing and what to do, and the job runs with what this machine has."""
    if script is not None:
        (tmp_path / "podman").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    plan = make_backend(namespaces="never").plan(make_spec("true", image="team/image:1"))
    assert plan.faults == ()
    (note,) = (note for note in plan.notes if reason in note)
    assert "apt-get install podman" in note


@pytest.mark.parametrize(
    ("version", "driver"),
    [("3.4.4", "none"), ("4.3.1", "passthrough"), ("10.0.0-dev", "passthrough"), ("", "none"), (None, "none")],
)
def test_who_keeps_no_log(version: str | None, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A podman that cannot hand its container the pipe of the log is not asked to."""
    said = json.dumps({"host": {}, "version": version and {"Version": version}})
    (tmp_path / "podman").write_text(f"#!/bin/sh\necho '{said}'\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engine = find_engine("podman")
    assert isinstance(engine, Engine)
    assert engine.settings()["log_driver"] == driver


def test_a_driver_finds_the_engine(backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its trials run where its caller's jobs do, though it has a clean environment and another HOME."""
    (tmp_path / ".docker").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("CONTAINERS_CONF", "/etc/team/containers.conf")
    env = backend.driver_settings("eta").env
    assert (env["CONTAINERS_CONF"], env["DOCKER_CONFIG"]) == ("/etc/team/containers.conf", str(tmp_path / ".docker"))


def test_without_bubblewrap(make_backend: MakeBackend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """`local` does without and says so; the layouts of platforms cannot, and say how to get it."""
    local, pod = make_backend(), make_backend("local-kubernetes")
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert local.plan(make_spec("true")).faults == ()
    assert "bwrap is not installed" in " ".join(local.plan(make_spec("true")).notes)
    assert "apt-get install bubblewrap" in dict(pod.plan(make_spec("true")).faults)["local-kubernetes.namespaces"]
    assert "bwrap" in local.capabilities().lacks[Capability.CONTRACT_PATHS]
    always = make_backend(namespaces="always")
    assert "local.namespaces" in dict(always.plan(make_spec("true")).faults)


def test_a_bubblewrap_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many containers it is installed and forbidden."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho bwrap: No permissions to create new namespace >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _: str(broken))
    assert "No permissions to create new namespace" in (sandbox.unusable() or "")


def test_without_control_groups(backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that nobody keeps is not promised, and the job runs."""
    monkeypatch.setattr(cgroups, "parent", lambda: None)
    assert "systemd-run" in backend.capabilities().lacks[Capability.MEMORY_LIMIT]
    assert run(backend, make_spec("true")).event.exit_code == 0


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"parallel": 0}, "local.parallel"),
        ({"parallel": True}, "local.parallel"),
        ({"parallel": "4"}, "local.parallel"),
        ({"namespaces": "perhaps"}, "local.namespaces"),
        ({"secrets": ""}, "local.secrets"),
        ({"metrics": "gateway"}, "local.metrics"),
        ({"paralel": 4}, "local.paralel"),
    ],
)
def test_options_that_cannot_be(
    make_backend: MakeBackend, make_spec: MakeSpec, table: dict[str, Any], path: str
) -> None:
    """A misspelt option is told where it stands, and does not keep anybody from listing jobs."""
    backend = make_backend(**table)
    assert path in dict(backend.plan(make_spec("true")).faults)
    assert [check.verdict for check in backend.diagnose() if check.name == "configuration"] == [Verdict.FAILED]


def test_the_doctor(backend: Backend) -> None:
    """Each thing that jobs depend on is looked at, and nothing is made."""
    checks = {check.name: check for check in backend.diagnose()}
    assert checks.keys() == {"containers", "namespaces", "memory limit", "disk", "python"}
    assert checks["python"].verdict is Verdict.OK
    assert "GiB free" in checks["disk"].detail


def test_submitting_again(backend: Backend, make_spec: MakeSpec) -> None:
    """Equal calls meet in one job; others are told that the name is taken."""
    spec = make_spec("true")
    first = submit(backend, spec)
    assert submit(backend, spec).event.created_at == first.event.created_at
    other = make_spec("false", id=spec.id)
    with pytest.raises(Conflict) as caught:
        submit(backend, other)
    assert caught.value.job_id == spec.id
    finish(backend, spec.id)


def test_a_home_that_is_not_ours(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The refusal names the place and the remedy."""
    settings = BackendSettings(name="local", table={}, home=Path("/sys/nowhere"), storage_url=tmp_path.as_uri())
    backend = create(settings)
    checks = {check.name: check for check in backend.diagnose()}
    assert checks["disk"].verdict in (Verdict.FAILED, Verdict.WARNING)
    with pytest.raises(AccessDenied, match="/sys/nowhere"):
        backend.submit(backend.plan(make_spec("true")))


def test_a_python_that_is_gone(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """An environment that was deleted while the job waited is named."""
    plan = backend.plan(make_spec("true", timeout=timedelta(minutes=1)))
    record = plan.requests[1]
    body = {
        **record.body,
        "run": {**record.body["run"], "runtime": [str(tmp_path / "python"), "x"], "namespaces": None},
    }
    requests = (plan.requests[0], Request(operation=record.operation, body=body), plan.requests[2])
    backend.submit(replace(plan, requests=requests))
    event = finish(backend, plan.spec.id).event
    assert "python" in event.message
    assert event.reason is FailureReason.CONFIGURATION
