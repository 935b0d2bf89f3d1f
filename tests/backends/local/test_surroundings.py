"""What a job on this machine must not see, and what it must hear."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, Capability, JobSpec, words
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_local import cgroups
from lyftlearn_local.store import files as store_files
from lyftlearn_local.supervisor import outcome, sandbox

from .conftest import MakeBackend, eventually, finish, lines, run, until
from .test_stored_commands import with_run

MakeSpec = Callable[..., JobSpec]
LAYOUTS = ("local", "local-kubernetes", "local-sagemaker")


def test_shared_words() -> None:
    """Supervisors import nothing of lyftlearn, and comparisons of backends hold sentences to be equal."""
    assert store_files.ASKED_TO_STOP == words.STOP_REQUESTED
    assert outcome.MEMORY_WORDS == words.OUT_OF_MEMORY


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_variable_of_ours(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """`PWD=/` is a lie for a program elsewhere; containers have none of what shells and bubblewrap set."""
    backend = make_backend(layout)
    if backend.plan(make_spec("true")).faults:
        pytest.skip("without namespaces there is no such layout")
    code = """if True:
        import json, os
        here = os.environ.get("PWD") in (None, os.getcwd())
        print(json.dumps([sorted(os.environ), oct(os.stat("/dev/shm").st_mode & 0o7777), here]))
    """
    spec = make_spec((sys.executable, "-c", code), env={"SHLVL": "mine"})
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    names, mode, is_here = json.loads(lines(backend, spec.id)[0])
    assert is_here
    assert not {"OLDPWD", "_"} & set(names)
    assert "SHLVL" in names
    assert mode == "0o1777"


@pytest.fixture
def _namespaces(backend: Backend) -> None:
    if reason := backend.capabilities().why_not(Capability.CONTRACT_PATHS):
        pytest.skip(reason)


@pytest.fixture
def _mounts_that_come_and_go() -> Iterator[None]:
    """Mount and unmount below `/run` without a pause."""
    directory = Path("/run/lyftlearn-test-mounts")
    directory.mkdir()
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(20):
                (directory / str(number)).mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", "tmpfs", "x", directory / str(number)], check=False)
            for number in range(20):
                subprocess.run(["umount", "-l", directory / str(number)], check=False)

    thread = threading.Thread(target=churn)
    thread.start()
    yield
    over.set()
    thread.join()
    subprocess.run(["rm", "-rf", directory], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.usefixtures("_namespaces", "_mounts_that_come_and_go")
def test_mounts_below_run_break_no_job(backend: Backend, make_spec: MakeSpec) -> None:
    """Container engines and login sessions mount there all the time; one job in two hundred did not start."""
    program = backend.plan(make_spec("true")).requests[1].body["run"]["namespaces"]
    command = [program, "--unshare-pid", *sandbox._root(()), "--proc", "/proc", "/bin/true"]
    for _ in range(60):
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        assert started.returncode == 0, started.stderr
    assert run(backend, make_spec("true")).event.status is JobStatus.SUCCEEDED


@pytest.mark.skipif(os.geteuid() != 0, reason="writes to /run")
@pytest.mark.usefixtures("_namespaces")
def test_what_a_job_names_below_run_is_there(backend: Backend, make_spec: MakeSpec) -> None:
    """Removable disks are mounted at /run/media: data there is the job's as it is anywhere else."""
    disk = Path(f"/run/lyftlearn-test-{os.getpid()}/My Disk é")
    disk.mkdir(parents=True)
    try:
        (disk / "a.csv").write_text("1,2")
        spec = make_spec(
            'cat "$LYFTLEARN_INPUTS_DIR/train/a.csv" "$DATA"; echo x > "$LYFTLEARN_OUTPUTS_DIR/output/r"',
            inputs={"train": disk.as_uri()},
            env={"DATA": f"{disk}/a.csv"},
            outputs={"output": (disk / "out").as_uri()},
        )
        assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
        assert lines(backend, spec.id)[0] == "1,21,2"
        assert (disk / "out/r").read_text() == "x\n"
    finally:
        subprocess.run(["rm", "-rf", disk.parent], check=True)


FLAKY = """#!/bin/sh
if [ ! -e {mark} ]; then
    touch {mark}
    printf "bwrap: " >&2
    sleep 0.2
    echo "Can't remount readonly on /newroot/var/lib/docker/overlay2/x/merged: No such file or directory" >&2
    exit 1
fi
exec bwrap "$@"
"""


@pytest.mark.usefixtures("_namespaces")
def test_a_mount_that_goes_elsewhere(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A container that ends on the same machine takes its mount away just then; the job begins a moment later.

    Its log has nothing of that, whichever pieces the complaint comes in.
    """
    flaky = tmp_path / "flaky"
    flaky.write_text(FLAKY.format(mark=tmp_path / "mark"))
    flaky.chmod(0o755)
    plan = backend.plan(make_spec("echo up; echo w > $LYFTLEARN_MODEL_DIR/w"))
    backend.submit(with_run(plan, namespaces=str(flaky)))
    assert finish(backend, plan.spec.id).event.status is JobStatus.SUCCEEDED
    assert lines(backend, plan.spec.id) == ["up"]


@pytest.mark.usefixtures("_namespaces")
def test_a_mount_that_goes_while_namespaces_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan has no fault for what another container's end did to one try."""
    program, real = tmp_path / "bwrap", shutil.which("bwrap")
    program.write_text(FLAKY.format(mark=tmp_path / "mark").replace("exec bwrap", f"exec {real}"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert sandbox.unusable() is None
    assert (tmp_path / "mark").exists()


HOPELESS = """#!/bin/sh
echo "bwrap: Can't find source path /nowhere: No such file or directory" >&2
exit 1
"""


@pytest.mark.usefixtures("_namespaces")
def test_a_mount_that_never_comes(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A sandbox that gives up each time fails the job in its own words, once."""
    hopeless = tmp_path / "hopeless"
    hopeless.write_text(HOPELESS)
    hopeless.chmod(0o755)
    plan = backend.plan(make_spec("echo up"))
    backend.submit(with_run(plan, namespaces=str(hopeless)))
    event = finish(backend, plan.spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert "Can't find source path /nowhere" in event.message
    assert [line.partition(":")[0] for line in lines(backend, plan.spec.id)] == ["bwrap"]


@pytest.mark.usefixtures("_namespaces")
def test_a_command_that_speaks_like_bubblewrap(backend: Backend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """Only what never began is begun again: this command ran, and may not run twice."""
    spec = make_spec(f'echo once >> {tmp_path}/ran; echo "bwrap: Can\'t do it"; exit 1')
    event = run(backend, spec).event
    assert (event.reason, event.exit_code) == (FailureReason.USER_ERROR, 1)
    assert (tmp_path / "ran").read_text() == "once\n"
    assert lines(backend, spec.id) == ["bwrap: Can't do it"]


LINGERING = """#!/bin/sh
bwrap "$@"
code=$?
touch {ended}
until [ -e {gate} ]; do sleep 0.05; done
exit $code
"""


@pytest.mark.usefixtures("_namespaces")
def test_a_stop_between_the_end_of_a_command_and_of_its_container(
    backend: Backend, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """The process that is to be signalled is gone, and its supervisor must live to tell how the job ended."""
    lingering, gate, ended = tmp_path / "lingering", tmp_path / "gate", tmp_path / "ended"
    lingering.write_text(LINGERING.format(gate=gate, ended=ended))
    lingering.chmod(0o755)
    plan = backend.plan(make_spec("exit 3"))
    backend.submit(with_run(plan, namespaces=str(lingering)))
    eventually(ended.exists, "the end of the container")
    backend.stop(plan.spec.id)
    until(backend, plan.spec.id, lambda record: record.event.status is JobStatus.STOPPING)
    gate.touch()
    event = finish(backend, plan.spec.id).event
    assert event.reason is not FailureReason.PLATFORM, event.message


SLOW = "import sys, time; open({mark!r}, 'w').close(); time.sleep(600)"


@pytest.mark.parametrize("verb", ["fetch", "pack"])
def test_sagemaker_hears_a_stop_while_it_moves_data(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, verb: str
) -> None:
    """A channel of a terabyte takes hours; whoever stops the job then must not wait for it."""
    backend = make_backend("local-sagemaker")
    (tmp_path / "train").mkdir()
    mark = tmp_path / "moving"
    inputs = {"train": (tmp_path / "train").as_uri()} if verb == "fetch" else {}
    plan = backend.plan(make_spec("true", inputs=inputs))
    if plan.faults:
        pytest.skip("without namespaces there is no such layout")
    backend.submit(with_run(plan, platform=[sys.executable, "-c", SLOW.format(mark=str(mark))]))
    eventually(mark.exists, verb)
    backend.stop(plan.spec.id)
    assert finish(backend, plan.spec.id).event.status is JobStatus.STOPPED


@pytest.fixture
def session_group() -> Iterator[Path]:
    """Return a control group with a limit, as a desktop session has one, which the job shares with other programs."""
    parent = cgroups.parent()
    if parent is None:
        pytest.skip("no control group can be made here")
    group = cgroups.MemoryGroup(parent / f"lyftlearn-session-{os.getpid()}", 256 << 20)
    yield group.path
    group.remove()


IN_GROUP = """
import os, subprocess, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
from lyftlearn_local.__main__ import main
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.mark.parametrize("retries", [0, 1])
def test_memory_of_the_session_is_not_the_jobs(
    backend: Backend, make_spec: MakeSpec, session_group: Path, tmp_path: Path, retries: int
) -> None:
    """The kernel killed a browser in the same session; the job that failed meanwhile failed for its own reason."""
    gate = tmp_path / "gate"
    plan = backend.plan(make_spec(f"echo up; until [ -e {gate} ]; do sleep 0.05; done; exit 3", retries=retries))
    backend.submit(with_run(plan, memory=None, supervisor=["/bin/true"]))
    job = tmp_path / "home/local/jobs" / plan.spec.id
    supervisor = subprocess.Popen([sys.executable, "-c", IN_GROUP, str(session_group), "supervise", str(job)])
    eventually(lambda: lines(backend, plan.spec.id), "the first line")
    hog = f"open('{session_group}/cgroup.procs', 'w').write('0'); bytearray(1 << 30)"
    killed = subprocess.run([sys.executable, "-c", hog], check=False)
    assert killed.returncode == -9
    gate.touch()
    event = finish(backend, plan.spec.id).event
    assert supervisor.wait() == 0
    assert (event.reason, event.exit_code, event.attempt) == (FailureReason.USER_ERROR, 3, 1 + retries)


def test_homes_with_spaces_and_accents(make_spec: MakeSpec, tmp_path: Path) -> None:
    """`/home/josé` and `My Home` are homes; what a job keeps there is found by the next one."""
    from lyftlearn.backend import BackendSettings
    from lyftlearn_local import create

    home = tmp_path / "My Home/josé %41 [x]"
    for name in LAYOUTS:
        backend = create(BackendSettings(name=name, table={}, home=home, storage_url=home.as_uri()))
        first = make_spec('echo w > "$LYFTLEARN_MODEL_DIR/m"; echo o > "$LYFTLEARN_OUTPUTS_DIR/output/r"')
        first = type(first)(**{**vars(first), "output_uri": f"{home.as_uri()}/outputs/{first.id}"})
        if backend.plan(first).faults:
            continue
        assert run(backend, first).event.status is JobStatus.SUCCEEDED
        outputs = backend.outputs(first.id)
        assert (home / "outputs" / first.id / "model.tar.gz").exists()
        second = make_spec('cat "$LYFTLEARN_INPUTS_DIR/a/r"', inputs={"a": outputs["output"]})
        assert run(backend, second).event.status is JobStatus.SUCCEEDED, lines(backend, second.id)
        assert lines(backend, second.id)[0] == "o"


@pytest.mark.parametrize(("is_driver", "sees"), [(True, ["caller's", "/caller's"]), (False, ["", ""])])
def test_a_driver_finds_the_engine_of_its_caller(
    make_backend: MakeBackend, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, is_driver: bool, sees: list[str]
) -> None:
    """A search's trials run in images as the caller's own jobs do; other jobs see nothing of this shell."""
    monkeypatch.setenv("CONTAINERS_CONF", "caller's")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/caller's")
    backend = make_backend()
    env = backend.driver_settings("eta").env if is_driver else {}
    spec = make_spec('echo "$CONTAINERS_CONF"; echo "$PATH" | grep -o "/caller\'s$" || echo', env=env)
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    assert [line for line in lines(backend, spec.id) if not line.startswith("lyftlearn:")] == sees
