"""A job that names an image runs in it: the same layout, the same limits, the same ends, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, JobSpec, ResourceRequest
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_kubernetes.status.events import NO_PYTHON
from lyftlearn_local.containers.engine import Engine
from lyftlearn_local.supervisor import container_start
from tests import images

from .conftest import GIB, MakeBackend, eventually, finish, lines, run, submit, until
from .test_stored_commands import with_run

MakeSpec = Callable[..., JobSpec]
LAYOUTS = ("local", "local-kubernetes", "local-sagemaker")


@pytest.fixture
def engine() -> Engine:
    return images.require_engine()


@pytest.fixture
def image(engine: Engine) -> str:
    return images.python_image(engine)


@pytest.fixture(autouse=True)
def _nothing_is_left(engine: Engine, tmp_path: Path) -> Iterator[None]:
    yield
    for layout in LAYOUTS:
        label = f"label=lyftlearn.store={tmp_path / 'home' / layout}"
        eventually(partial(_has_none, engine, label), "no container is left")


def _has_none(engine: Engine, label: str) -> bool:
    return not podman(engine, "ps", "--all", "--quiet", "--filter", label)


def podman(engine: Engine, *words: str) -> str:
    return subprocess.run([engine.program, *words], capture_output=True, text=True, check=True).stdout


def python(code: str) -> tuple[str, ...]:
    return ("python3", "-c", textwrap.dedent(code))


SURROUNDINGS = """
    import json, os, pathlib, shutil, socket, sys
    shared = os.statvfs("/dev/shm")
    home = pathlib.Path(os.environ["HOME"], "note")
    home.write_text("writable")
    pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "m").write_text("w")
    print(json.dumps({
        "ids": [os.getuid(), os.getgid()],
        "input": pathlib.Path("/lyftlearn/inputs/train/a.csv").read_text(),
        "secret": pathlib.Path("/lyftlearn/secrets/db/PASSWORD").read_text() + os.environ["PASSWORD"],
        "env": os.environ["LINES"],
        "shared": shared.f_blocks * shared.f_frsize,
        "engine's": [name for name in ("container", "TERM") if name in os.environ],
        "of this machine": os.path.exists(sys.argv[1]),
        "name": socket.gethostname(),
        "working directory": os.getcwd(),
    }))
"""


SLOW = pytest.mark.slow


@pytest.mark.parametrize("layout", ["local", *(pytest.param(name, marks=SLOW) for name in LAYOUTS[1:])])
def test_the_layout_is_the_same(
    make_backend: MakeBackend, make_spec: MakeSpec, image: str, tmp_path: Path, layout: str
) -> None:
    """Inputs, secrets, variables, user and shared memory are what they are without an image."""
    for path, text in (("train/a.csv", "1,2"), ("secrets/db/PASSWORD", "s3cr3t"), ("secrets/other/KEY", "x")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    backend = make_backend(layout, containers="auto", secrets=str(tmp_path / "secrets"))
    resources = ResourceRequest(cpu=1, memory=GIB, gpu=0, gpu_type=None, disk=GIB, shared_memory=70 << 20)
    spec = make_spec(
        (*python(SURROUNDINGS), str(Path(__file__))),
        image=image,
        inputs={"train": (tmp_path / "train").as_uri()},
        secrets=("db",),
        env={"LINES": "one\ntwo, $$HOME"},
        resources=resources,
    )
    plan = backend.plan(spec)
    assert (plan.faults, plan.notes) == ((), ())
    record = run(backend, spec)
    assert record.event.status is JobStatus.SUCCEEDED, (record.event, lines(backend, spec.id))
    seen = json.loads(lines(backend, spec.id)[0])
    assert seen.pop("name") in {os.uname().nodename, f"{spec.id}-local", "algo-1"}
    assert seen == {
        "ids": [1000, 1000] if layout == "local-kubernetes" else [0, 0],
        "input": "1,2",
        "secret": "s3cr3t" * 2,
        "env": "one\ntwo, $HOME",
        "shared": 70 << 20,
        "engine's": [],
        "of this machine": False,
        "working directory": "/",
    }
    assert (tmp_path / "outputs" / spec.id / "model.tar.gz").exists()


@pytest.mark.slow
def test_no_value_stands_on_a_command_line(make_backend: MakeBackend, make_spec: MakeSpec, image: str) -> None:
    """`ps` shows arguments to every user of a machine."""
    backend = make_backend()
    os.environ["AWS_SECRET_ACCESS_KEY"] = "value-of-a-key"
    try:
        spec = make_spec("echo up; sleep 60", image=image, env={"TOKEN": "value-of-env"})
        submit(backend, spec)
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]
    until(backend, spec.id, lambda record: record.event.status is JobStatus.RUNNING)
    words = [_words(path) for path in Path("/proc").iterdir() if path.name.isdigit()]
    assert any(spec.id.encode() in word for word in words)
    assert [word for word in words if b"value-of-" in word and b"pytest" not in word] == []
    backend.stop(spec.id)
    finish(backend, spec.id)


def _words(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 7), pytest.param("kill -9 $$$$", 137, marks=SLOW), pytest.param("exit 0", 0, marks=SLOW)],
    ids=["code", "signal", "success"],
)
def test_exit_codes(make_backend: MakeBackend, make_spec: MakeSpec, image: str, command: str, code: int) -> None:
    """The engine's own codes must not hide the command's."""
    backend = make_backend()
    event = run(backend, make_spec(command, image=image)).event
    assert event.exit_code == code
    assert event.reason is (FailureReason.USER_ERROR if code else None)


@pytest.mark.slow
def test_the_memory_limit_holds(make_backend: MakeBackend, make_spec: MakeSpec, image: str, engine: Engine) -> None:
    """What takes more than was asked for ends as out of memory, as everywhere."""
    if not engine.limits_memory:
        pytest.skip("the engine limits no memory here")
    backend = make_backend()
    small = ResourceRequest(cpu=1, memory=100 << 20, gpu=0, gpu_type=None, disk=GIB, shared_memory=None)
    event = run(
        backend, make_spec(python("x = bytearray(900 << 20); print(len(x))"), image=image, resources=small)
    ).event
    assert event.reason is FailureReason.OUT_OF_MEMORY


def test_a_stop_reaches_the_command(make_backend: MakeBackend, make_spec: MakeSpec, image: str) -> None:
    """SIGTERM first, so that the command may put its things away."""
    backend = make_backend()
    spec = make_spec("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done", image=image)
    submit(backend, spec)
    eventually(lambda: "up" in lines(backend, spec.id), "the command runs")
    backend.stop(spec.id)
    assert finish(backend, spec.id).event.status is JobStatus.STOPPED
    assert "bye" in lines(backend, spec.id)


@pytest.mark.usefixtures("_loud_runtime")
def test_a_stop_says_nothing_of_its_own(make_backend: MakeBackend, make_spec: MakeSpec, image: str) -> None:
    """What the engine's own runtime complains of, as when a signal comes too late, is not the command's output."""
    backend = make_backend()
    polite = python("""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("bye")))
        print("up", flush=True)
        time.sleep(600)
    """)
    spec = make_spec(polite, image=image)
    submit(backend, spec)
    eventually(lambda: "up" in lines(backend, spec.id), "the command runs")
    backend.stop(spec.id)
    assert finish(backend, spec.id).event.status is JobStatus.STOPPED
    assert lines(backend, spec.id) == ["up", "bye"]


@pytest.fixture
def _loud_runtime(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have podman's runtime complain of each signal, in runc's words."""
    if engine.kind != "podman":
        pytest.skip("only podman takes its runtime from a file")
    runtime, configuration = tmp_path / "loud-runtime", tmp_path / "containers.conf"
    real = podman(engine, "info", "--format", "{{.Host.OCIRuntime.Path}}").strip()
    complaint = "level=error msg='container not running'"
    runtime.write_text(f'#!/bin/sh\ncase " $* " in *" kill "*) echo "{complaint}" >&2;; esac\nexec {real} "$@"\n')
    runtime.chmod(0o755)
    usual = [line for line in Path(os.environ["CONTAINERS_CONF"]).read_text().splitlines() if "runtime" not in line]
    configuration.write_text("\n".join([*usual, 'runtime = "loud"', "[engine.runtimes]", f'loud = ["{runtime}"]']))
    monkeypatch.setenv("CONTAINERS_CONF", str(configuration))


def test_a_killed_supervisor_leaves_no_container(
    make_backend: MakeBackend, make_spec: MakeSpec, image: str, engine: Engine, tmp_path: Path
) -> None:
    """Neither the container nor the client of the engine outlives the job."""
    backend = make_backend()
    spec = make_spec("echo up; sleep 600", image=image)
    submit(backend, spec)
    eventually(lambda: "up" in lines(backend, spec.id), "the command runs")
    job = tmp_path / "home/local/jobs" / spec.id
    events = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines() if line]
    pid = next(event["supervisor"][0] for event in events if "supervisor" in event)
    os.kill(pid, signal.SIGKILL)
    event = finish(backend, spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)
    assert not (job / "nodes").exists()


@pytest.mark.slow
def test_a_stop_while_the_image_is_fetched(make_backend: MakeBackend, make_spec: MakeSpec, engine: Engine) -> None:
    """A registry that never answers holds nobody up who has changed their mind."""
    backend = make_backend()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spec = make_spec("true", image=f"127.0.0.1:{silent.getsockname()[1]}/team/image:1")
        submit(backend, spec)
        with silent.accept()[0]:
            backend.stop(spec.id)
            assert finish(backend, spec.id).event.status is JobStatus.STOPPED


@pytest.mark.slow
def test_a_container_whose_client_was_killed(
    make_backend: MakeBackend, make_spec: MakeSpec, image: str, engine: Engine
) -> None:
    """The engine's client is a process like any other; without it the container would run for ever."""
    backend = make_backend()
    spec = make_spec("echo up; sleep 600", image=image)
    submit(backend, spec)
    eventually(lambda: "up" in lines(backend, spec.id), "the command runs")
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit() and spec.id.encode() in _words(path)]
    words = {path: _words(path).split(b"\0") for path in processes}
    (client,) = [path for path in processes if words[path][0] == engine.program.encode() and b"run" in words[path]]
    os.kill(int(client.name), signal.SIGKILL)
    event = finish(backend, spec.id).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PLATFORM)


@pytest.mark.slow
def test_what_an_engine_made_too_late_is_swept(
    make_backend: MakeBackend, make_spec: MakeSpec, image: str, engine: Engine, tmp_path: Path
) -> None:
    """A daemon may create a container after its client, and the job, are gone: the next job that ends removes it."""
    label = f"lyftlearn.store={tmp_path / 'home/local'}"
    name = "lyftlearn-eta-tlaaaaaaaaaaa-0-00000000"
    podman(engine, "create", "--name", name, "--label", label, "--network", "host", image, "true")
    assert run(make_backend(), make_spec("true", image=image)).event.status is JobStatus.SUCCEEDED
    eventually(partial(_has_none, engine, f"label={label}"), "no container is left")


@pytest.mark.slow
def test_an_image_that_is_not_there(make_backend: MakeBackend, make_spec: MakeSpec, engine: Engine) -> None:
    """The job fails by its image, and says what to do."""
    event = run(make_backend(), make_spec("true", image="nosuch.invalid/team/image:1")).event
    assert event.reason is FailureReason.IMAGE
    assert event.message.startswith("nosuch.invalid/team/image:1 cannot be had: ")


def test_an_image_without_python(
    make_backend: MakeBackend, make_spec: MakeSpec, engine: Engine, tmp_path: Path
) -> None:
    """The runtime cannot start, and nobody but the engine can say so; the words are those of a cluster."""
    name = f"localhost/lyftlearn-test/empty:{tmp_path.name.lower()}"
    images.import_image(engine, name, {"/etc/nothing": b"in it"})
    try:
        event = run(make_backend(), make_spec("true", image=name)).event
    finally:
        podman(engine, "rmi", name)
    assert event.reason is FailureReason.IMAGE
    assert event.message.startswith(NO_PYTHON)
    assert container_start.NO_PYTHON == NO_PYTHON


HANG = """
path=$(command -v python3) && rm "$path"
printf '#!/bin/sh\\nwhile :; do sleep 0.1; done\\n' > "$path" && chmod 755 "$path"
"""


@pytest.mark.parametrize("user", ["root", pytest.param("app", marks=SLOW)])
def test_an_image_whose_python_hangs(
    *, make_backend: MakeBackend, make_spec: MakeSpec, engine: Engine, image: str, tmp_path: Path, user: str
) -> None:
    """The job was `starting` for ever. Whoever asks the image for its own user waits, too, and leaves no container."""
    name = f"localhost/lyftlearn-test/hangs:{tmp_path.name.lower()}-{user}"
    made = f"hangs-{tmp_path.name.lower()}-{user}"
    podman(engine, "run", "--name", made, "--network", "host", "--entrypoint", "/bin/sh", image, "-c", HANG)
    podman(engine, "commit", "--quiet", "--change", f"USER {user}", made, name)
    podman(engine, "rm", made)
    try:
        backend = make_backend()
        plan = backend.plan(make_spec("true", image=name))
        backend.submit(with_run(plan, begin=3.0))
        event = finish(backend, plan.spec.id).event
    finally:
        podman(engine, "rmi", name)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.IMAGE)
    assert event.message.startswith(f"`python3` of {name} did not begin within 3 seconds")


@pytest.mark.slow
@pytest.mark.parametrize(("user", "ids"), [("1234:1234", "1234:1234"), ("app", "1234:1234"), ("77", "77:0")])
def test_the_images_own_user(
    *, make_backend: MakeBackend, make_spec: MakeSpec, engine: Engine, image: str, tmp_path: Path, user: str, ids: str
) -> None:
    """An image may name its user by a number or by a word that it alone explains."""
    name = f"localhost/lyftlearn-test/user:{tmp_path.name.lower()}"
    made = podman(engine, "create", "--network", "host", image, "true").strip()
    podman(engine, "commit", "--quiet", "--change", f"USER {user}", made, name)
    podman(engine, "rm", made)
    try:
        backend = make_backend()
        spec = make_spec('echo "$(id -u):$(id -g)"; echo kept > "$LYFTLEARN_MODEL_DIR/m"', image=name)
        event = run(backend, spec).event
    finally:
        podman(engine, "rmi", name)
    assert event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    assert lines(backend, spec.id)[0] == (ids if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}")


@pytest.mark.slow
def test_outputs_with_a_uri_and_a_predict_job(
    make_backend: MakeBackend, make_spec: MakeSpec, image: str, tmp_path: Path
) -> None:
    """What a job leaves lies on this machine, whatever stands in the path, and another job finds it."""
    backend = make_backend()
    place = tmp_path / 'my, "data": dir'
    place.mkdir()
    train = make_spec(
        'echo model > "$LYFTLEARN_MODEL_DIR/m"; echo table > "$LYFTLEARN_OUTPUTS_DIR/table/t.csv"',
        image=image,
        outputs={"table": (place / "out").as_uri()},
    )
    assert run(backend, train).event.status is JobStatus.SUCCEEDED, lines(backend, train.id)
    assert (place / "out/t.csv").read_text() == "table\n"
    predict = make_spec(
        "cat /lyftlearn/model/m /lyftlearn/inputs/table/t.csv",
        image=image,
        kind=JobKind.PREDICT,
        artifact=f"{train.output_uri}/model.tar.gz",
        inputs={"table": (place / "out").as_uri()},
    )
    assert run(backend, predict).event.status is JobStatus.SUCCEEDED, lines(backend, predict.id)
    assert lines(backend, predict.id)[:2] == ["model", "table"]


@pytest.mark.slow
def test_several_nodes(make_backend: MakeBackend, make_spec: MakeSpec, image: str) -> None:
    """Each node is a container of its own; one that fails ends the others."""
    backend = make_backend()
    spec = make_spec(
        'echo "$LYFTLEARN_NODE_RANK of $LYFTLEARN_NODES"; test $LYFTLEARN_NODE_RANK = 0 || exit 3; sleep 600',
        image=image,
        nodes=2,
    )
    event = run(backend, spec).event
    assert (event.status, event.exit_code) == (JobStatus.FAILED, 3)
    assert sorted(lines(backend, spec.id))[:2] == ["0 of 2", "1 of 2"]


@pytest.mark.slow
def test_an_input_that_is_not_there(make_backend: MakeBackend, make_spec: MakeSpec, image: str, tmp_path: Path) -> None:
    """The message has the path as the caller wrote it, not as the container would find it."""
    uri = (tmp_path / "nothing").as_uri()
    event = run(make_backend(), make_spec("true", image=image, inputs={"train": uri})).event
    assert (event.reason, event.message) == (FailureReason.CONFIGURATION, f"inputs.train: nothing is at {uri}")


def test_a_job_without_an_image_is_run_as_ever(backend: Backend, make_spec: MakeSpec) -> None:
    """Whoever names no image notices nothing of engines."""
    plan = backend.plan(make_spec("true"))
    assert "container" not in plan.requests[1].body["run"]
    assert plan.notes == ()
