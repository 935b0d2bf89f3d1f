"""Whoever dies, and whenever: a job runs at most once, and what became of it is told."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, JobSpec, Plan, Request
from lyftlearn.errors import JobNotFound
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_local import cgroups
from lyftlearn_local.store import jobs
from lyftlearn_local.store.files import JobFiles, event

from .conftest import MakeBackend, eventually, finish, lines, submit, until

MakeSpec = Callable[..., JobSpec]

DIE = """
import os, signal, sys
left = [{step}]
def die(name, _):
    counts = name.split(".")[0] in ("open", "os", "shutil", "subprocess", "fcntl", "signal")
    if counts and not os.path.lexists({once!r}):
        left[0] -= 1
        if left[0] == 0:
            os.symlink("x", {once!r})
            os.kill(os.getpid(), signal.SIGKILL)
"""
"""Kills its process just before the operation number `step` on files, locks or processes."""

CLIENT = """
import pickle, sys
from pathlib import Path
from lyftlearn.backend import BackendSettings
from lyftlearn_local import create
settings, plan = pickle.loads(Path(sys.argv[1]).read_bytes())
backend = create(BackendSettings(**settings))
backend._home, backend._jobs
sys.addaudithook(die)
backend.submit(plan)
"""


def _die_in_submit(tmp_path: Path, plan: Plan, step: int) -> bool:
    """Whether a client that submits `plan` died before its operation number `step`."""
    settings = {"name": "local", "table": {}, "home": tmp_path / "home", "storage_url": tmp_path.as_uri()}
    given = tmp_path / "plan.pickle"
    given.write_bytes(pickle.dumps((settings, replace(plan, spec=replace(plan.spec, **_plain(plan.spec))))))
    script = DIE.format(step=step, once=str(tmp_path / f"client-{step}")) + CLIENT
    ended = subprocess.run([sys.executable, "-c", script, str(given)], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def _plain(spec: JobSpec) -> dict[str, Any]:
    return {name: dict(getattr(spec, name)) for name in ("inputs", "outputs", "env", "labels")}


def _survive_clients_death(backend: Backend, make_spec: MakeSpec, tmp_path: Path, step: int) -> bool:
    ran = tmp_path / f"ran-{step}"
    plan = backend.plan(make_spec(f"echo once >> {ran}"))
    died = _die_in_submit(tmp_path, plan, step)
    try:
        backend.describe(plan.spec.id)
    except JobNotFound:
        assert died
        assert not ran.exists()
    backend.submit(plan)
    assert finish(backend, plan.spec.id).event.status is JobStatus.SUCCEEDED
    assert ran.read_text() == "once\n"
    return died


def test_a_client_that_dies_anywhere(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A laptop closes its lid; the job is there as a whole or not at all, and submitting again makes no second one."""
    assert _survive_clients_death(backend, make_spec, tmp_path, 1)
    died = [_survive_clients_death(backend, make_spec, tmp_path, step) for step in range(2, 60, 6)]
    assert any(died)


@pytest.mark.slow
def test_a_client_that_dies_everywhere(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Every single step of a submission, until one goes through."""
    steps = 0
    while _survive_clients_death(backend, make_spec, tmp_path, steps + 1):
        steps += 1
    assert steps > 15


def _dying_supervisor(plan: Plan, step: int, once: Path) -> Plan:
    """`plan` with a supervisor that is killed once, at its operation number `step`."""
    record = plan.requests[1]
    *python, begin, verb = record.body["run"]["supervisor"]
    prepared = DIE.format(step=step, once=str(once)) + "sys.addaudithook(die)\n" + begin.replace("; ", "\n")
    run = {**record.body["run"], "supervisor": [*python, prepared, verb]}
    requests = (
        plan.requests[0],
        Request(operation=record.operation, body={**record.body, "run": run}),
        plan.requests[2],
    )
    return replace(plan, requests=requests)


def _survive_supervisors_death(backend: Backend, make_spec: MakeSpec, tmp_path: Path, step: int) -> bool:
    ran, once = tmp_path / f"ran-{step}", tmp_path / f"supervisor-{step}"
    plan = _dying_supervisor(backend.plan(make_spec(f"echo once >> {ran}")), step, once)
    backend.submit(plan)
    end = finish(backend, plan.spec.id).event
    if end.status is JobStatus.FAILED:
        assert end.reason is FailureReason.PLATFORM
        assert "supervisor" in end.message
    else:
        assert end.status is JobStatus.SUCCEEDED
        assert ran.exists()
    assert not ran.exists() or ran.read_text() == "once\n"
    assert finish(backend, plan.spec.id).event == end
    return once.is_symlink()


def test_a_supervisor_that_dies_anywhere(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """The machine's memory ran out; nobody may wait for ever for a job that nobody runs."""
    died = [_survive_supervisors_death(backend, make_spec, tmp_path, step) for step in range(1, 120, 13)]
    assert died.count(True) > 3


@pytest.mark.slow
def test_a_supervisor_that_dies_everywhere(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Every single step of a supervisor, until one goes through."""
    steps = 0
    while _survive_supervisors_death(backend, make_spec, tmp_path, steps + 1):
        steps += 1
    assert steps > 30


@pytest.fixture(params=[True, False], ids=["groups", "no groups"])
def _control_groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(cgroups, "parent", lambda: None)


@pytest.mark.usefixtures("_control_groups")
@pytest.mark.parametrize("namespaces", ["auto", "never"])
def test_a_killed_supervisor_takes_its_job_along(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, namespaces: str
) -> None:
    """A job that was reported as failed must not go on writing."""
    backend = make_backend(namespaces=namespaces)
    alive = tmp_path / "alive"
    spec = make_spec(f"date > {alive}; echo up; while :; do date +%s%N > {alive}; sleep 0.05; done")
    _kill_supervisor_of_running(backend, spec, tmp_path)
    end = finish(backend, spec.id).event
    assert (end.status, end.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert end.started_at is not None
    last = alive.read_text()
    subprocess.run(["sleep", "0.5"], check=True)
    assert alive.read_text() == last
    assert lines(backend, spec.id, follow=True) == ["up"]
    parent = cgroups.parent()
    assert parent is None or not list(parent.glob(f"*{spec.id}*"))


def test_the_end_is_written_once(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Many look at once; they all see the same end, and the history has one."""
    backend = make_backend()
    spec = make_spec("echo up; sleep 60")
    _kill_supervisor_of_running(backend, spec, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: finish(make_backend(), spec.id).event, range(16)))
    assert len({(end.status, end.at) for end in ends}) == 1
    history = (tmp_path / "home/local/jobs" / spec.id / "events.jsonl").read_text()
    assert history.count('"failed"') == 1


def test_a_supervisor_killed_while_it_starts_a_node(
    backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bubblewrap has then not yet asked to end with its parent, and nobody knows its pid."""
    monkeypatch.setattr(cgroups, "parent", lambda: None)
    plan = backend.plan(make_spec("echo up; sleep 60"))
    record = plan.requests[1]
    *python, begin, verb = record.body["run"]["supervisor"]
    hasty = HASTY + begin.replace("; ", "\n")
    run = {**record.body["run"], "supervisor": [*python, hasty, verb]}
    requests = (
        plan.requests[0],
        Request(operation=record.operation, body={**record.body, "run": run}),
        plan.requests[2],
    )
    backend.submit(replace(plan, requests=requests))
    assert finish(backend, plan.spec.id).event.reason is FailureReason.PLATFORM
    runtime = str(tmp_path / "home/local/jobs" / plan.spec.id / "runtime.pyz")
    eventually(lambda: not _running(runtime), "the end of the node")


def test_who_waits_behind_a_killed_supervisor(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """The slot of the dead is free, and whoever looks at the next job starts it."""
    backend = make_backend(parallel=1)
    first, second = make_spec("echo up; sleep 60"), make_spec("true")
    submit(backend, first)
    submit(backend, second)
    _kill_supervisor(backend, first, tmp_path)
    assert finish(backend, second.id).event.status is JobStatus.SUCCEEDED
    assert finish(backend, first.id).event.status is JobStatus.FAILED


def test_an_end_that_cannot_be_written_is_told(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that became read-only a dead job is dead all the same."""
    spec = make_spec("echo up; sleep 60")
    _kill_supervisor_of_running(backend, spec, tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(JobFiles, "append", refuse)
    end = finish(backend, spec.id).event
    assert (end.status, end.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)


def test_another_process_is_never_signalled(tmp_path: Path) -> None:
    """Pids are given again; to signal a dead supervisor would end whatever has its pid now, here this very test."""
    files = JobFiles(tmp_path)
    files.append(event("running", supervisor=[os.getpid(), 1]))
    received = []
    before = signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
    try:
        jobs._signal_supervisor(files)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == []


def test_the_machine_shuts_down(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """SIGTERM to the supervisor gives the command its grace, and the job an end that says why."""
    spec = make_spec("trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    submit(backend, spec)
    eventually(lambda: lines(backend, spec.id), "the first line")
    os.kill(_supervisor(spec, tmp_path), signal.SIGTERM)
    end = finish(backend, spec.id).event
    assert (end.status, end.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert "shuts down" in end.message
    assert lines(backend, spec.id)[-1] == "saved"


HASTY = """
import os, signal, subprocess
execute = subprocess.Popen._execute_child
def execute_and_die(*arguments):
    execute(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen._execute_child = execute_and_die
"""
"""Kills a supervisor as soon as it has started something."""

FULL = """
import json, sys
from datetime import timedelta
from pathlib import Path
import pickle, time
from lyftlearn.backend import BackendSettings
from lyftlearn.errors import QuotaExceeded
from lyftlearn_local import create
settings, plans = pickle.loads(Path(sys.argv[1]).read_bytes())
backend = create(BackendSettings(**settings))
for plan in plans:
    backend.submit(plan)
    deadline = time.monotonic() + 60
    while not (event := backend.describe(plan.spec.id).event).status.finished and time.monotonic() < deadline:
        time.sleep(0.02)
    print(json.dumps([event.status, event.reason, event.message]))
    for log in settings["home"].glob("local/jobs/*/logs/*.log"):
        log.unlink()
with open(settings["home"] / "filler", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
from dataclasses import replace
from lyftlearn.backend import Request
plan = plans[0]
spec = replace(plan.spec, id="another-tlaaaaaaaaaaa")
record = Request(operation=plan.requests[1].operation, body={**plan.requests[1].body, "id": spec.id})
try:
    backend.submit(replace(plan, spec=spec, requests=(plan.requests[0], record, plan.requests[2])))
except QuotaExceeded as error:
    print(json.dumps(["quota", str(error)]))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small file system")
def test_a_full_disk(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A job that fills the disk with its log or with files ends and says so; the next one is refused as a whole."""
    home, given = tmp_path / "home", tmp_path / "plans.pickle"
    home.mkdir()
    backend = make_backend()
    loud = make_spec("yes lyftlearn | head -c 30000000; sleep 60")
    greedy = make_spec("cat /dev/zero > $LYFTLEARN_OUTPUTS_DIR/output/big")
    plans = [replace(plan, spec=replace(plan.spec, **_plain(plan.spec))) for plan in map(backend.plan, (loud, greedy))]
    settings = {"name": "local", "table": {}, "home": home, "storage_url": tmp_path.as_uri()}
    given.write_bytes(pickle.dumps((settings, plans)))
    script = f'mount -t tmpfs -o size=4m tmpfs "{home}" && exec "$@"'
    inside = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", FULL, str(given)]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    flood, files, refused = [json.loads(line) for line in done.stdout.splitlines()]
    assert flood[:2] == ["failed", "platform"]
    assert "No space left" in flood[2]
    assert "free some space" in flood[2]
    assert files[0] == "failed"
    assert refused[0] == "quota"
    assert "no room" in refused[1]


def _kill_supervisor_of_running(backend: Backend, spec: JobSpec, tmp_path: Path) -> None:
    submit(backend, spec)
    eventually(lambda: lines(backend, spec.id), "the first line")
    until(backend, spec.id, lambda record: record.event.status is JobStatus.RUNNING)
    os.kill(_supervisor(spec, tmp_path), signal.SIGKILL)


def _kill_supervisor(backend: Backend, spec: JobSpec, tmp_path: Path) -> None:
    until(backend, spec.id, lambda record: record.event.status is not JobStatus.PENDING)
    os.kill(_supervisor(spec, tmp_path), signal.SIGKILL)


def _running(argument: str) -> list[str]:
    """Return the processes with `argument`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument in path.read_text(errors="replace").split("\0"):
                found.append(path.parent.name)
    return found


def _supervisor(spec: JobSpec, tmp_path: Path) -> int:
    for known in JobFiles(tmp_path / "home/local/jobs" / spec.id).events():
        if "supervisor" in known:
            pid: int = known["supervisor"][0]
            return pid
    pytest.fail("no supervisor has begun")
