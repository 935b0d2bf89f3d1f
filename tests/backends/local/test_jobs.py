"""Whole jobs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import lyftlearn_local
from lyftlearn.backend import Backend, Capability, JobQuery, JobSpec, ResourceRequest, words
from lyftlearn.types import FailureReason, JobKind, JobStatus

from .conftest import GIB, MakeBackend, eventually, finish, lines, run, submit, until

MakeSpec = Callable[..., JobSpec]
DEEP = "[(os.mkdir('d'), os.chdir('d')) for _ in range(1500)]"
"""More directories within each other than Python's own ways through a tree can follow."""


def test_the_environment_is_a_containers(
    backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What works only because of the submitter's shell fails on a cluster; credentials and proxies must get through."""
    monkeypatch.setenv("FROM_MY_SHELL", "1")
    monkeypatch.setenv("AWS_PROFILE", "research")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    dump = "import json, os; print(json.dumps(dict(os.environ)))"
    spec = make_spec((sys.executable, "-c", dump), env={"MINE": "2"})
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    seen = json.loads(lines(backend, spec.id)[0])
    assert not {"FROM_MY_SHELL", "PYTHONPATH"} & seen.keys()
    assert (seen["AWS_PROFILE"], seen["https_proxy"], seen["MINE"]) == ("research", "http://127.0.0.1:9", "2")
    assert seen["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert not [name for name in seen if name.startswith(("LYFTLEARN_SUBSTRATE", "LYFTLEARN_BUNDLE", "LYFTLEARN_ROOT"))]


def test_credentials_do_not_stay_on_disk(
    backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A job's directory is kept for ever; the submitter's keys must not be."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-7d1f")
    spec = make_spec("true")
    plan = backend.plan(spec)
    assert "canary-7d1f" not in repr(plan)
    backend.submit(plan)
    finish(backend, spec.id)
    until(backend, spec.id, lambda _: not any((tmp_path / "home/local/queue").iterdir()))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"canary-7d1f" in path.read_bytes()]


@pytest.mark.parametrize("namespaces", ["auto", "never"])
def test_nothing_is_left_behind(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, namespaces: str
) -> None:
    """A forgotten background process would hold memory and ports long after its job."""
    backend = make_backend(namespaces=namespaces)
    mark = f"987{os.getpid()}"
    spec = make_spec(f"sleep {mark} & (setsid sleep {mark} &) ; echo $TMPDIR; touch $TMPDIR/x")
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    eventually(lambda: not _processes(mark), "the end of what the command started")
    left = {path.name for path in (tmp_path / "home/local/jobs" / spec.id).iterdir()}
    kept = {"bundle.json", "job.json", "events.jsonl", "logs", "lock", "reserve", "runtime.pyz", "supervisor.log"}
    assert left == kept


def test_directories_without_end_are_left_by_nobody(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Whoever looks at a job removes what it left: if that failed, the job would never end, and no list of jobs."""
    spec = make_spec((sys.executable, "-c", f"import os; os.chdir(os.environ['TMPDIR']); {DEEP}"))
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    assert not (tmp_path / "home/local/jobs" / spec.id / "nodes").exists()


def test_the_log_of_the_supervisor_is_empty(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """It holds only what nobody foresaw."""
    spec = make_spec("echo hello; exit 3")
    run(backend, spec)
    assert (tmp_path / "home/local/jobs" / spec.id / "supervisor.log").read_text() == ""


@pytest.mark.parametrize("namespaces", ["auto", "never"])
def test_paths_of_the_contract(make_backend: MakeBackend, make_spec: MakeSpec, namespaces: str) -> None:
    """The variables always lead there; the paths themselves are real where the backend says so."""
    backend = make_backend(namespaces=namespaces)
    spec = make_spec('echo "$LYFTLEARN_MODEL_DIR"; echo weights > "$LYFTLEARN_MODEL_DIR/w"; ls -d /lyftlearn/model')
    real = backend.capabilities().why_not(Capability.CONTRACT_PATHS) is None
    assert real or namespaces == "never" or "bwrap" in backend.capabilities().lacks[Capability.CONTRACT_PATHS]
    record = run(backend, spec)
    assert (record.event.status is JobStatus.SUCCEEDED) == real
    assert (lines(backend, spec.id)[0] == "/lyftlearn/model") == real


def test_without_namespaces_the_model_is_kept(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """Where no namespace can be had the promise is the variables', and it holds."""
    backend = make_backend(namespaces="never")
    spec = make_spec('echo weights > "$LYFTLEARN_MODEL_DIR/w"')
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    archive = backend.outputs(spec.id)["model"].removeprefix("file://")
    with tarfile.open(archive) as found:
        assert found.getnames() == ["w"]


def test_slots_and_their_queue(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """With one slot jobs run one after the other, in the order in which they came."""
    backend = make_backend(parallel=1)
    order = tmp_path / "order"
    specs = [
        make_spec(f"echo begin {number} >> {order}; sleep 0.2; echo end {number} >> {order}") for number in range(4)
    ]
    for spec in specs:
        submit(backend, spec)
    for spec in specs:
        assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED
    words = [line.split() for line in order.read_text().splitlines()]
    assert [word for word, _ in words] == ["begin", "end"] * 4
    assert [number for word, number in words if word == "begin"] == ["0", "1", "2", "3"]
    eventually(lambda: not list((tmp_path / "home/local/queue").iterdir()), "an empty queue")


def test_many_jobs_at_once_all_run(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """No job may be forgotten between a supervisor that ends and a client that finds every slot taken."""
    backend = make_backend(parallel=3)
    specs = [make_spec("true", outputs={}, kind=JobKind.PROCESS) for _ in range(40)]
    for spec in specs:
        submit(backend, spec)
    assert {finish(backend, spec.id).event.status for spec in specs} == {JobStatus.SUCCEEDED}


def test_stopping_a_job_that_waits(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """It ends at once, never runs, and holds up nobody behind it."""
    backend = make_backend(parallel=1)
    gate = tmp_path / "gate"
    first = make_spec(f"until [ -e {gate} ]; do sleep 0.05; done")
    second, third = make_spec(f"touch {tmp_path}/ran"), make_spec("true")
    for spec in (first, second, third):
        submit(backend, spec)
    until(backend, first.id, lambda record: record.event.status is not JobStatus.PENDING)
    backend.stop(second.id)
    assert backend.describe(second.id).event.status is JobStatus.STOPPED
    gate.touch()
    assert finish(backend, third.id).event.status is JobStatus.SUCCEEDED
    assert not (tmp_path / "ran").exists()


def test_the_wish_to_stop_is_seen_at_once(backend: Backend, make_spec: MakeSpec) -> None:
    """Who stopped a job and looks again must not read that it simply runs."""
    spec = make_spec("trap '' TERM; echo up; sleep 30 & wait; wait", grace=timedelta(seconds=1))
    submit(backend, spec)
    eventually(lambda: lines(backend, spec.id), "the first line")
    backend.stop(spec.id)
    assert backend.describe(spec.id).event.status in (JobStatus.STOPPING, JobStatus.STOPPED)
    assert finish(backend, spec.id).event.status is JobStatus.STOPPED


def test_the_first_node_to_fail_speaks_for_all(backend: Backend, make_spec: MakeSpec) -> None:
    """The others fail because of it, later and with less to say."""
    command = 'if [ "$LYFTLEARN_NODE_RANK" = 1 ]; then echo boom; exit 7; fi; trap "exit 9" TERM; sleep 60 & wait'
    record = run(backend, make_spec(command, nodes=3))
    assert record.event.status is JobStatus.FAILED
    assert (record.event.reason, record.event.exit_code) == (FailureReason.USER_ERROR, 7)
    assert "boom" in record.event.message


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_a_command_that_ends_its_runtime_has_not_succeeded(backend: Backend, make_spec: MakeSpec, number: str) -> None:
    """Nobody asked for a stop, and what the command was to do is not done: as a pod, and an instance, tell it."""
    event = run(backend, make_spec(f"kill -{number} $PPID; sleep 60 & wait")).event
    assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 143)
    assert event.message == words.SIGNALLED


def test_nodes_meet(backend: Backend, make_spec: MakeSpec) -> None:
    """MASTER_ADDR and MASTER_PORT are free to listen at, and the same for everyone."""
    code = """
        import os, socket
        place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        if os.environ["NODE_RANK"] == "0":
            server = socket.create_server(place)
            print(sorted(server.accept()[0].recv(9).decode() for _ in range(2)))
        else:
            import time
            for _ in range(200):
                try:
                    socket.create_connection(place).sendall(os.environ["NODE_RANK"].encode())
                    break
                except OSError:
                    time.sleep(0.05)
    """
    import textwrap

    spec = make_spec((sys.executable, "-c", textwrap.dedent(code)), nodes=3)
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    assert lines(backend, spec.id, node=0)[0] == "['1', '2']"


def test_memory_beyond_the_limit(backend: Backend, make_spec: MakeSpec) -> None:
    """The job is killed, not the machine, and the reason is told."""
    reason = backend.capabilities().why_not(Capability.MEMORY_LIMIT)
    if reason:
        pytest.skip(reason)
    small = ResourceRequest(cpu=1, memory=128 << 20, gpu=0, gpu_type=None, disk=GIB, shared_memory=None)
    record = run(backend, make_spec((sys.executable, "-c", "b = bytearray(1 << 30); print(len(b))"), resources=small))
    assert record.event.status is JobStatus.FAILED
    assert record.event.reason is FailureReason.OUT_OF_MEMORY


def test_shared_memory_as_asked(backend: Backend, make_spec: MakeSpec) -> None:
    """Data loaders die of a `/dev/shm` that is too small."""
    if backend.capabilities().why_not(Capability.CONTRACT_PATHS):
        pytest.skip("without namespaces it is the machine's")
    wanted = ResourceRequest(cpu=1, memory=GIB, gpu=0, gpu_type=None, disk=GIB, shared_memory=64 << 20)
    spec = make_spec("df --output=size -B1 /dev/shm | tail -1", resources=wanted)
    run(backend, spec)
    assert int(lines(backend, spec.id)[0]) == 64 << 20


def test_secrets_from_the_directory(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """The same call site works on a laptop, with files in place of a secret manager."""
    (tmp_path / "vault/db").mkdir(parents=True)
    (tmp_path / "vault/db/PASSWORD").write_text("hunter22")
    for name in ("local", "local-kubernetes", "local-sagemaker"):
        backend = make_backend(name, secrets=str(tmp_path / "vault"))
        spec = make_spec(
            'test "$PASSWORD" = hunter22 && test "$(cat $LYFTLEARN_SECRETS_DIR/db/PASSWORD)" = hunter22',
            secrets=("db",),
        )
        assert run(backend, spec).event.status is JobStatus.SUCCEEDED, (name, lines(backend, spec.id))
        missing = run(backend, make_spec("true", secrets=("db", "gone"))).event
        assert (missing.status, missing.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
        assert "gone" in missing.message


def test_newest_first(backend: Backend, make_spec: MakeSpec) -> None:
    """The list is read from its top."""
    specs = [make_spec("true", name=name) for name in ("one", "two", "three")]
    for spec in specs:
        submit(backend, spec)
        time.sleep(0.01)
    assert [record.name for record in backend.list(JobQuery())] == ["three", "two", "one"]
    assert [record.name for record in backend.list(JobQuery(name="two"))] == ["two"]
    since = backend.describe(specs[1].id).event.created_at
    assert [record.name for record in backend.list(JobQuery(since=since))] == ["three", "two"]
    for spec in specs:
        finish(backend, spec.id)


def _processes(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_text():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_supervisor_loads_little() -> None:
    """Each first job waits for it, and its memory is taken for as long as the job runs."""
    large = ("shutil", "bz2", "typing", "dataclasses", "socket", "lyftlearn", "lyftlearn_local.layouts.sagemaker")
    script = f"import lyftlearn_local.supervisor.supervisor; sys.exit(str([m for m in {large} if m in sys.modules]))"
    path = str(Path(lyftlearn_local.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {path!r}); {script}"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == "[]\n"
