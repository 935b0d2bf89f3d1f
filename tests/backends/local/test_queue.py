"""Jobs that wait are started by whoever comes by, and one that cannot be started holds up no other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, JobQuery, JobSpec, LogQuery
from lyftlearn.errors import AccessDenied, JobNotFound, LyftLearnError
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_local.planning import interpreter
from lyftlearn_local.store import removal, start_mark
from lyftlearn_local.store.files import JobFiles, Store
from lyftlearn_local.store.locks import Lock

from .conftest import MakeBackend, eventually, finish, lines, run, submit, until
from .test_stored_commands import with_run

MakeSpec = Callable[..., JobSpec]
GONE = "/nowhere/bin/python3"
BROKEN_COMMANDS = {
    "no such Python": [GONE, "-I", "-S", "-c", "", "supervise"],
    "a Python that may not be run": ["/etc/passwd", "supervise"],
    "no such package": [sys.executable, "-I", "-S", "-c", "from lyftlearn_gone import main; main()", "supervise"],
    "an entry that is not there": [sys.executable, "-I", "-c", "import sys; sys.exit('no such verb')", "supervise"],
}


@pytest.fixture(params=BROKEN_COMMANDS)
def broken(request: pytest.FixtureRequest) -> list[str]:
    """Return a supervisor's command that cannot start."""
    return BROKEN_COMMANDS[request.param]


def test_a_supervisor_that_cannot_start_is_an_end(backend: Backend, make_spec: MakeSpec, broken: list[str]) -> None:
    """An environment was deleted or an old version removed: the job must not be pending for ever."""
    plan = backend.plan(make_spec("true"))
    backend.submit(with_run(plan, supervisor=broken))
    event = finish(backend, plan.spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert "could not be started" in event.message
    assert "submit the job again" in event.message


def test_a_job_that_cannot_start_does_not_stop_the_queue(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, broken: list[str]
) -> None:
    """Nobody looks: the supervisor that ends sees that its successor does not begin, and takes the next."""
    backend = make_backend(parallel=1)
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    first = make_spec(f"until [ -e {gate} ]; do sleep 0.05; done")
    submit(backend, first)
    until(backend, first.id, lambda record: record.event.status is JobStatus.RUNNING)
    plans = [backend.plan(make_spec("true")) for _ in range(2)]
    for plan in plans:
        backend.submit(with_run(plan, supervisor=broken))
    submit(backend, make_spec(f"touch {ran}"))
    gate.touch()
    eventually(ran.exists, "the job behind those that cannot start")
    for plan in plans:
        assert finish(backend, plan.spec.id).event.reason is FailureReason.CONFIGURATION


HANGING = """#!/bin/sh
read -r _ < "$0.pipe"  # without a child, which would be counted before it is another program
"""


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a Python that never begins, as on a disk of the network that is away; nothing of it may be left."""
    monkeypatch.setattr(start_mark, "BEGIN_SECONDS", 3.0)
    python = tmp_path / "python3"
    os.mkfifo(f"{python}.pipe")
    python.write_text(HANGING)
    python.chmod(0o755)
    return python


def _running(program: Path) -> list[str]:
    """The processes that a script has become."""
    running = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().split(b"\0")[1:2] == [os.fsencode(program)]:
                running.append(path.parent.name)
    return running


def test_a_python_that_hangs_is_an_end(make_backend: MakeBackend, make_spec: MakeSpec, hanging: Path) -> None:
    """The job was pending for ever, and each look at it started another one."""
    backend = make_backend()
    plan = backend.plan(make_spec("true"))
    backend.submit(with_run(plan, supervisor=[str(hanging), "supervise"]))
    started: list[int] = []

    def has_ended() -> bool:
        finished = make_backend().describe(plan.spec.id).event.status.finished
        started.append(len(_running(hanging)))
        return finished

    eventually(has_ended, "the end of the job")
    assert max(started) == 1
    event = backend.describe(plan.spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert f"{hanging} did not begin within 3 seconds" in event.message
    eventually(lambda: not _running(hanging), "the end of the Python")


def test_a_python_that_hangs_does_not_stop_the_queue(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind it run while it hangs: neither its start nor its place in the queue takes their slot."""
    monkeypatch.setattr(start_mark, "BEGIN_SECONDS", 3600.0)
    backend = make_backend(parallel=1)
    gate = tmp_path / "gate"
    first = make_spec(f"until [ -e {gate} ]; do sleep 0.05; done")
    submit(backend, first)
    until(backend, first.id, lambda record: record.event.status is JobStatus.RUNNING)
    behind = []
    for _ in range(2):
        backend.submit(with_run(backend.plan(make_spec("true")), supervisor=[str(hanging), "supervise"]))
        behind.append(submit(backend, make_spec("true")))
    gate.touch()
    for record in behind:
        assert finish(backend, record.id).event.status is JobStatus.SUCCEEDED
    monkeypatch.setattr(start_mark, "BEGIN_SECONDS", 0.0)
    for record in backend.list(JobQuery()):
        finish(backend, record.id)
    eventually(lambda: not _running(hanging), "the end of the Pythons")


def test_a_runtime_that_hangs_is_an_end(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Its Python worked when the job was submitted; the disk that it is on may be away by now."""
    backend, python = make_backend(parallel=1), tmp_path / "python3"
    python.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    python.chmod(0o755)
    plan = backend.plan(make_spec("true"))
    backend.submit(with_run(plan, runtime=[str(python)], begin=2.0))
    event = finish(backend, plan.spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert f"{python} did not begin within 2 seconds" in event.message
    assert not _running(python)
    slow = backend.plan(make_spec("sleep 3"))
    backend.submit(with_run(slow, begin=1.0))
    assert finish(backend, slow.spec.id).event.status is JobStatus.SUCCEEDED


def test_a_start_that_was_killed_is_made_again(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its submitter and its supervisor died at once, as in a reboot: nobody waits for a Python that is not there."""
    backend = make_backend()
    spec = make_spec("true")
    with monkeypatch.context() as patched:
        patched.setattr("lyftlearn_local.store.starter._start_detached", lambda *_: os.getpid())
        submit(backend, spec)
    assert start_mark.look(JobFiles(tmp_path / "home/local/jobs" / spec.id))
    assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED


def test_a_job_that_cannot_start_is_not_blamed_on_another(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """A supervisor that let an older job go first became a program that could not begin, and its own job failed."""
    backend = make_backend(parallel=1)
    store = Store(tmp_path / "home/local")
    store.make()
    slot: Lock = eventually(lambda: store.take_slot({"parallel": 1}), "a free slot")
    plan = backend.plan(make_spec("true"))
    backend.submit(with_run(plan, supervisor=BROKEN_COMMANDS["no such package"]))
    slot.release()
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED
    assert finish(backend, plan.spec.id).event.reason is FailureReason.CONFIGURATION


def _leave_waiting(tmp_path: Path, make_backend: MakeBackend, make_spec: MakeSpec, count: int) -> list[Path]:
    """Submit jobs whose first supervisor is killed before it begins, as by a reboot. Return what they will touch."""
    backend = make_backend(parallel=1)
    store = Store(tmp_path / "home/local")
    store.make()
    slot: Lock = eventually(lambda: store.take_slot({"parallel": 1}), "a free slot")
    marks = [tmp_path / f"ran-{number}" for number in range(count)]
    for mark in marks:
        submit(backend, make_spec(f"touch {mark}"))
    slot.release()
    return marks


LOOKS: dict[str, Callable[[Backend, JobSpec], Any]] = {
    "describe another": lambda backend, spec: backend.describe(spec.id),
    "list": lambda backend, _: list(backend.list(JobQuery(name="no such name"))),
    "logs of another": lambda backend, spec: lines(backend, spec.id),
}


@pytest.mark.parametrize("look", LOOKS)
def test_any_look_starts_what_waits(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, look: str) -> None:
    """The machine was restarted; those jobs run as soon as anybody looks at anything, not only at them."""
    other = make_spec("true", name="other")
    run(make_backend(parallel=1), other)
    marks = _leave_waiting(tmp_path, make_backend, make_spec, 3)
    backend = make_backend(parallel=1)

    def done() -> bool:
        LOOKS[look](backend, other)
        return all(mark.exists() for mark in marks)

    eventually(done, "every job that waited")


def test_a_submission_starts_what_waits(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A cron job that only submits is a look, too, and the older jobs come first."""
    marks = _leave_waiting(tmp_path, make_backend, make_spec, 3)
    after = tmp_path / "after"
    submit(make_backend(parallel=1), make_spec(f"ls {tmp_path} > {after}"))
    eventually(after.exists, "the end of the last")
    assert all(mark.exists() for mark in marks)


def test_a_fork_does_not_keep_locks(tmp_path: Path) -> None:
    """A data loader forks while its parent looks at the queue; the parent's locks must end with the parent's use."""
    lock = Lock.take(tmp_path / "lock")
    assert lock
    reading, writing = os.pipe()
    begun, began = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.write(began, b".")
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    os.read(begun, 1)  # what a fork does in the child has been done
    os.close(begun)
    os.close(began)
    lock.release()
    again = Lock.take(tmp_path / "lock")
    os.close(writing)
    os.waitpid(child, 0)
    assert again
    again.release()


def _run(command: list[str], environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, cwd=directory, capture_output=True, text=True, timeout=600, check=False
    )


SUBMIT_AS_1 = """
import os, sys, time
from pathlib import Path
import lyftlearn
assert os.getpid() == 1
jobs = [lyftlearn.process(f"j{number}", command="true") for number in range(4)]
for job in jobs:
    job.wait()
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path("/proc").glob("[0-9]*/stat")]
    if "Z" not in states:
        print("none")
        break
    time.sleep(0.1)
else:
    print([(path.parent.name, path.read_text()[:60]) for path in Path("/proc").glob("[0-9]*/stat")])
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="makes a PID namespace")
def test_no_zombies_where_the_submitter_is_process_1(tmp_path: Path) -> None:
    """In a container the submitter often is; every supervisor becomes its child, and thousands fill the table."""
    environment = {**os.environ, "LYFTLEARN_BACKEND": "local", "LYFTLEARN_HOME": str(tmp_path / "home")}
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", SUBMIT_AS_1]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.strip().splitlines()[-1] == "none", done.stderr


UNUSABLE = {
    "uWSGI": "sys.executable = '/usr/bin/env'",
    "embedded": "sys.executable = ''",
    "unknown": "sys.executable = None",
    "forbidden": "sys.executable = '{forbidden}'",
    "frozen": "sys.frozen = True",
    "gone": "sys.executable = '/nowhere/bin/python3'",
}
SUBMIT = """
import sys
import lyftlearn
{change}
if hasattr(sys, "frozen"):
    sys.executable = {forbidden!r}
job = lyftlearn.process("j", command="python3 -c 'import sys; print(sys.version_info >= (3, 11))'")
print(job.wait().status, *job.logs())
"""


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_process_that_is_no_python(tmp_path: Path, kind: str) -> None:
    """Application servers, frozen applications and embedded interpreters submit jobs, too."""
    forbidden = tmp_path / "python3"
    forbidden.write_text("#!/bin/sh\nexit 1\n")
    forbidden.chmod(0o644)
    code = SUBMIT.format(change=UNUSABLE[kind].format(forbidden=forbidden), forbidden=str(forbidden))
    environment = {**os.environ, "LYFTLEARN_BACKEND": "local", "LYFTLEARN_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.split() == ["succeeded", "True"], done.stderr


def test_a_kin_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission looks for a Python that works; one that hangs is asked once, by whichever name, and not for long."""
    monkeypatch.setattr(interpreter, "KIN_SECONDS", 5.0)
    hanging, works = tmp_path / "bin/python3", sys.executable
    hanging.parent.mkdir()
    os.mkfifo(f"{hanging}.pipe")
    hanging.write_text(HANGING.replace("read", f"echo asked >> {tmp_path}/asked; read"))
    hanging.chmod(0o755)
    (tmp_path / "bin/python").symlink_to(hanging)
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(interpreter, "_kin", lambda: iter([str(hanging), str(hanging.with_name("python")), works]))
    assert interpreter.find() == works
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert not _running(hanging)


def test_no_python_at_all(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """The plan says what to set, instead of a job that waits for ever."""
    faults = dict(make_backend(python=GONE).plan(make_spec("true")).faults)
    assert GONE in faults["local.python"]
    assert "[local] python" in faults["local.python"]


def test_credentials_of_a_job_that_was_stopped_while_it_waited(
    make_backend: MakeBackend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It never reads what its submitter handed over, so nobody else would remove it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-51be")
    backend = make_backend(parallel=1)
    first, second = make_spec("sleep 60"), make_spec("true")
    submit(backend, first)
    until(backend, first.id, lambda record: record.event.status is not JobStatus.PENDING)
    submit(backend, second)
    unstartable = backend.plan(make_spec("true"))
    backend.submit(with_run(unstartable, supervisor=[GONE]))
    backend.stop(second.id)
    backend.stop(first.id)
    for spec in (first, second, unstartable.spec):
        finish(backend, spec.id)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and _holds(path, b"canary-51be")]


def _holds(path: Path, words: bytes) -> bool:
    with suppress(FileNotFoundError):  # an entry of the queue may go meanwhile
        return words in path.read_bytes()
    return False


@pytest.mark.parametrize("when", ["supervisor", "node"])
def test_secrets_of_a_killed_job(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, when: str) -> None:
    """Without namespaces secrets lie in the machine's own shared memory, where they outlived a job that was killed."""
    (tmp_path / "vault/db").mkdir(parents=True)
    (tmp_path / "vault/db/PASSWORD").write_text("canary-88aa")
    backend = make_backend(namespaces="never", secrets=str(tmp_path / "vault"))
    spec = make_spec("echo up; sleep 60", secrets=("db",))
    submit(backend, spec)
    eventually(lambda: lines(backend, spec.id), "the first line")
    assert _secrets(tmp_path, spec)
    _kill(tmp_path, spec, when)
    assert finish(backend, spec.id).event.status is JobStatus.FAILED
    assert not _secrets(tmp_path, spec)


def _secrets(tmp_path: Path, spec: JobSpec) -> list[Path]:
    """Files of the job's secrets. They lie in its own directory where that one is in memory, as `/tmp` may be."""
    return [*Path("/dev/shm").glob(f"lyftlearn-{spec.id}*/**/PASSWORD"), *(tmp_path / "home").rglob("PASSWORD")]


def _kill(tmp_path: Path, spec: JobSpec, when: str) -> None:
    files = JobFiles(tmp_path / "home/local/jobs" / spec.id)
    supervisor = next(event["supervisor"][0] for event in files.events() if "supervisor" in event)
    if when == "supervisor":
        os.kill(supervisor, signal.SIGKILL)
        return
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)


BROKEN_RECORDS: dict[str, Callable[[Path], Any]] = {
    "cut": lambda job: (job / "job.json").write_bytes((job / "job.json").read_bytes()[:40]),
    "empty": lambda job: (job / "job.json").write_bytes(b""),
    "a list": lambda job: (job / "job.json").write_text("[]"),
    "no bytes of UTF-8": lambda job: (job / "job.json").write_bytes(b"\xff\xfe\x00"),
    "a field less": lambda job: _change(job, lambda record: record.pop("labels")),
    "another type": lambda job: _change(job, lambda record: record.update(created_at="yesterday")),
    "a kind of a later version": lambda job: _change(job, lambda record: record.update(kind="evaluate")),
    "more than a record can be": lambda job: os.truncate(job / "job.json", (64 << 20) + 1),
    "no end": lambda job: (job / "job.json").write_text("[" * 100_000),
    "made at no time": lambda job: _change(job, lambda record: record.update(created_at=float("nan"))),
    "made too late": lambda job: _change(job, lambda record: record.update(created_at=1e300)),
    "a link to a directory": lambda job: _replace_by_link(job / "job.json"),
    "a pipe": lambda job: _replace_by_pipe(job / "job.json"),
    "no way to run": lambda job: _change(job, lambda record: record.update(run={})),
}
BROKEN_RUNS: list[dict[str, Any]] = [
    {"parallel": "x"}, {"parallel": 0}, {"parallel": -1}, {"parallel": None}, {"parallel": 1.5}, {"nodes": "many"},
    {"pending": 5}, {"pending": {"seconds": "long", "message": "m"}}, {"pending": {"seconds": 1, "message": 5}},
    {"supervisor": "python3"}, {"layout": None},
]  # fmt: skip


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("job.json.copy")
    path.with_name("job.json.copy").mkdir()


def _change(job: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((job / "job.json").read_bytes())
    change(record)
    (job / "job.json").write_text(json.dumps(record))


@pytest.mark.parametrize("damage", BROKEN_RECORDS)
def test_a_broken_record_hides_no_other_job(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad file made the list of jobs fail for everybody; it is skipped, and named."""
    good, bad = make_spec("true", name="good"), make_spec("true", name="bad")
    run(backend, good)
    run(backend, bad)
    BROKEN_RECORDS[damage](tmp_path / "home/local/jobs" / bad.id)
    assert [record.id for record in backend.list(JobQuery())] == [good.id]
    assert bad.id in caplog.text
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("changes", BROKEN_RUNS, ids=str)
def test_a_queued_job_that_nobody_can_run_holds_up_no_other(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """The first in the queue, for which there is never a slot, kept all that came later waiting for ever."""
    backend = make_backend(parallel=1)
    gate = tmp_path / "gate"
    first, bad, later = make_spec(f"until [ -e {gate} ]; do sleep 0.05; done"), make_spec("true"), make_spec("true")
    for spec in (first, bad, later):
        submit(backend, spec)
    _change(tmp_path / "home/local/jobs" / bad.id, lambda record: record["run"].update(changes))
    gate.touch()
    for spec in (first, later):
        assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED
    assert bad.id not in {record.id for record in backend.list(JobQuery())}
    for ask in (backend.describe, backend.stop, lambda job_id: list(backend.logs(job_id, LogQuery()))):
        with pytest.raises(JobNotFound):
            ask(bad.id)


def test_labels_and_outputs_are_texts(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """What somebody wrote there that is none is left out: whoever shows or downloads it would break over it."""
    spec = make_spec("true")
    run(backend, spec)
    odd = {"good": "x", "number": 5, "list": [1]}
    _change(tmp_path / "home/local/jobs" / spec.id, lambda record: record.update(labels=odd, outputs=odd))
    found = backend.describe(spec.id)
    assert (found.labels, found.outputs) == ({"good": "x"}, {"good": "x"})


@pytest.mark.parametrize("name", ["events.jsonl", "bundle.json", "stop", "supervisor.log", "lock"])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, name: str
) -> None:
    """To open one waits for whoever writes into it: for ever, and a list of jobs with it."""
    good, bad = make_spec("true", name="good"), make_spec("true", name="bad")
    run(backend, good)
    run(backend, bad)
    path = tmp_path / "home/local/jobs" / bad.id / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with suppress(LyftLearnError):
        backend.stored_job(bad.id)
    with suppress(LyftLearnError):
        backend.stop(bad.id)
    assert good.id in {record.id for record in backend.list(JobQuery())}
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED


def test_events_that_cannot_be_read_hide_no_other_job(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks for that very job is told the file."""
    good, bad = make_spec("true", name="good"), make_spec("true", name="bad")
    run(backend, good)
    run(backend, bad)
    path = tmp_path / "home/local/jobs" / bad.id / "events.jsonl"
    path.unlink()
    path.symlink_to(path.name)
    assert [record.id for record in backend.list(JobQuery())] == [good.id]
    assert "events.jsonl cannot be read: Too many levels of symbolic links" in caplog.text
    Store(tmp_path / "home/local").enqueue(bad.id, 0.0)
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED
    eventually(lambda: not Store(tmp_path / "home/local").waiting(), "an empty queue: it does not run again")
    for ask in (backend.describe, backend.timings, backend.stop):
        with pytest.raises(JobNotFound, match=r"events\.jsonl cannot be read"):
            ask(bad.id)


@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to(path.name)])
def test_a_lock_that_nobody_can_take_hides_no_other_job(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, put: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Whether a job's supervisor lives cannot be told then; that is said of this job alone."""
    good, bad = make_spec("true", name="good"), make_spec("true", name="bad")
    run(backend, good)
    run(backend, bad)
    job = tmp_path / "home/local/jobs" / bad.id
    (job / "events.jsonl").unlink()
    (job / "lock").unlink()
    put(job / "lock")
    record = json.loads((job / "job.json").read_bytes())
    (job / "job.json").write_text(json.dumps({**record, "created_at": record["created_at"] - 3600}))
    assert [found.id for found in backend.list(JobQuery())] == [good.id]
    assert "lock cannot be taken" in caplog.text
    with pytest.raises(JobNotFound, match="lock cannot be taken"):
        backend.describe(bad.id)


def _take_away(job: Path) -> None:
    """Remove a job as `clean` does; again is no harm."""
    with suppress(FileNotFoundError):
        job.rename(job.parents[1] / "tmp" / f".removed-{job.name}")


def test_a_job_that_is_removed_while_it_is_listed(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clean` runs beside everything else."""
    good, bad = make_spec("true", name="good"), make_spec("true", name="bad")
    run(backend, good)
    run(backend, bad)
    events, later = JobFiles.events, time.time() + 3600

    def remove(files: JobFiles) -> list[dict[str, Any]]:
        if files.path.name == bad.id:
            _take_away(files.path)
            monkeypatch.setattr("time.time", lambda: later)
        return events(files)

    monkeypatch.setattr(JobFiles, "events", remove)
    assert [found.id for found in backend.list(JobQuery())] == [good.id]


@pytest.mark.parametrize("look", ["describe", "timings", "stop"])
def test_a_job_that_is_removed_while_it_is_looked_at(
    backend: Backend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """It is not there, in the words of every backend; the system's own would end whoever follows it."""
    spec = make_spec("true")
    run(backend, spec)
    lines, later = JobFiles._lines, time.time() + 3600

    def remove(files: JobFiles) -> list[dict[str, Any]]:
        _take_away(files.path)
        monkeypatch.setattr("time.time", lambda: later)
        return lines(files)

    monkeypatch.setattr(JobFiles, "_lines", remove)
    with pytest.raises(JobNotFound, match=spec.id):
        getattr(backend, look)(spec.id)


@pytest.mark.parametrize("place", [(removal, "_ended_before"), (os, "walk")], ids=["looked at", "counted"])
def test_two_remove_the_same_jobs(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    """What another `clean` takes away at this moment is its business, and the rest is still ours."""
    specs = [make_spec("echo hello") for _ in range(2)]
    for spec in specs:
        run(backend, spec)
    lost, real = tmp_path / "home/local/jobs" / specs[1].id, getattr(*place)

    def remove(job: Any, *more: Any) -> Any:
        found = real(job, *more)
        if getattr(job, "path", job) == lost:
            found = found if place[0] is removal else list(found)
            _take_away(lost)
        return found

    monkeypatch.setattr(*place, remove)
    assert [job_id for job_id, _ in backend.remove_finished(datetime.now(UTC) + timedelta(hours=1))] == [specs[0].id]
    assert not any((tmp_path / "home/local/jobs").iterdir())


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda _: b"", lambda whole: bytes(len(whole))])
def test_a_runtime_that_was_damaged_is_made_anew(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """A client lives for weeks: a disk that was full once must not fail whatever it sends from then on."""
    run(backend, make_spec("true"))
    [runtime] = (tmp_path / "home/cache").glob("runtime-*.pyz")
    os.utime(runtime, (0, 0))  # so that it counts as known
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED
    runtime.write_bytes(damage(runtime.read_bytes()))
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
def test_what_stands_in_the_place_of_the_runtime(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """A pipe kept every submission waiting; of a directory, which nobody may remove, nothing was certain."""
    run(backend, make_spec("true"))
    [runtime] = (tmp_path / "home/cache").glob("runtime-*.pyz")
    runtime.unlink()
    put(runtime)
    if put is os.mkfifo:
        assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED
    else:
        with pytest.raises(AccessDenied, match=r"cannot be written to \(Is a directory\)"):
            submit(backend, make_spec("true"))


def test_stray_files(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Backup tools and people leave files where only ours are expected."""
    spec = make_spec("true")
    run(backend, spec)
    store = tmp_path / "home/local"
    for directory in ("jobs", "queue", "slots", "tmp"):
        (store / directory / ".DS_Store").write_text("x")
        (store / directory / "1-stray").mkdir()
        (store / directory / "notes.txt").write_text("x")
    (store / "slots/1").unlink(missing_ok=True)
    (store / "slots/1").mkdir()
    assert [record.id for record in backend.list(JobQuery())] == [spec.id]
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED


def _bind(path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/s")  # a socket's path has little room
        Path(short, "s").rename(path)


STRANGE: dict[str, Callable[[Path], Any]] = {
    "a directory": lambda path: (path / "full").mkdir(parents=True),
    "a circular link": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to a directory": lambda path: path.symlink_to("/tmp"),
    "a socket": _bind,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_stands_in_the_place_of_a_slot(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, kind: str
) -> None:
    """Jobs would wait for ever for a slot that nobody can take, or end because it cannot be taken."""
    backend, slot = make_backend(parallel=1), tmp_path / "home/local/slots/0"
    run(backend, make_spec("true"))
    slot.unlink()
    STRANGE[kind](slot)
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED
    assert not (tmp_path / "home/local/slots/gone").exists()


@pytest.mark.parametrize("kind", STRANGE)
def test_what_stands_in_the_place_of_an_entry_of_the_queue(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, kind: str
) -> None:
    """It holds up neither its own job nor those behind it."""
    backend, gate = make_backend(parallel=1), tmp_path / "gate"
    first = make_spec(f"until [ -e {gate} ]; do sleep 0.05; done")
    submit(backend, first)
    until(backend, first.id, lambda record: record.event.status is JobStatus.RUNNING)
    specs = [make_spec("true") for _ in range(2)]
    for spec in specs:
        submit(backend, spec)
    [entry] = (tmp_path / "home/local/queue").glob(f"*-{specs[0].id}")
    entry.unlink()
    STRANGE[kind](entry)
    gate.touch()
    for spec in reversed(specs):
        assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    "line",
    [
        *('{"status": "archived", "at": 1.0}', '{"status": "failed"}', "[1]", '{"status": ["x"], "at": 2}', "\x00\x00"),
        *(
            '{"status": "failed", "at": NaN}',
            '{"status": "failed", "at": 1e300}',
            '{"status": "failed", "at": -Infinity}',
        ),
        *('{"status": "failed", "at": 1.0, "started_at": "x"}', '{"status": "failed", "at": 1.0, "attempt": "two"}'),
        "[" * 100_000,
    ],
)
def test_an_event_of_a_later_version(backend: Backend, make_spec: MakeSpec, tmp_path: Path, line: str) -> None:
    """What this version does not know is passed over; what it knows still counts, and nothing runs twice."""
    spec = make_spec("true")
    run(backend, spec)
    with (tmp_path / "home/local/jobs" / spec.id / "events.jsonl").open("a") as file:
        file.write(line + "\n")
    assert backend.describe(spec.id).event.status is JobStatus.SUCCEEDED
    assert [record.event.status for record in backend.list(JobQuery())] == [JobStatus.SUCCEEDED]


def test_a_directory_in_the_place_of_events(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Nothing is known of this job, and everything of the others."""
    spec, good = make_spec("true"), make_spec("true")
    run(backend, spec)
    run(backend, good)
    events = tmp_path / "home/local/jobs" / spec.id / "events.jsonl"
    events.unlink()
    events.mkdir()
    assert {record.id for record in backend.list(JobQuery())} >= {good.id}


def test_a_job_begun_by_a_later_version_does_not_run_again(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Its only event has a status that this version does not know; to start it would be a second run."""
    ran = tmp_path / "ran"
    plan = backend.plan(make_spec(f"touch {ran}"))
    backend.submit(with_run(plan, supervisor=["/bin/true"]))
    job = tmp_path / "home/local/jobs" / plan.spec.id
    (job / "events.jsonl").write_text('{"status": "preparing", "at": 1.0}\n')
    subprocess.run([sys.executable, "-m", "lyftlearn_local", "supervise", str(job)], check=True)
    assert not ran.exists()
