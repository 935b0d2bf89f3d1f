"""What each platform gives a container is there, and the command cannot tell the difference."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, Capability, JobSpec
from lyftlearn.parity import probe
from lyftlearn.types import FailureReason, JobKind, JobStatus

from .conftest import MakeBackend, finish, lines, run, submit, until
from .test_stored_commands import with_run

MakeSpec = Callable[..., JobSpec]
LAYOUTS = ("local", "local-kubernetes", "local-sagemaker")
KEY = {probe.KEY: "k" * 64}
SHARED_MEMORY = probe.SHARED_MEMORY


@pytest.fixture(autouse=True)
def _namespaces(backend: Backend) -> Iterator[None]:
    reason = backend.capabilities().why_not(Capability.CONTRACT_PATHS)
    if reason:
        pytest.skip(reason)
    before = {path for path in _ON_THIS_MACHINE if Path(path).exists()}
    yield
    assert {path for path in _ON_THIS_MACHINE if Path(path).exists()} == before


_ON_THIS_MACHINE = (
    "/lyftlearn",
    "/opt/ml",
    "/run/lyftlearn",
    "/dev/termination-log",
    "/var/run/secrets/kubernetes.io",
)


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs `code`."""
    return (sys.executable, "-c", textwrap.dedent(code))


def test_a_pod(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """Files, variables, name and user that every pod has."""
    backend = make_backend("local-kubernetes")
    code = """
        import json, os, pathlib, socket
        account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
        print(json.dumps({
            "account": sorted(path.name for path in account.iterdir()),
            "service": os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"],
            "names": [os.environ["HOSTNAME"], socket.gethostname()],
            "user": [os.getuid(), os.getgid()],
            "setgid": [bool(os.stat(f"/lyftlearn/{name}").st_mode & 0o2000) for name in ("", "model", "tmp")],
            "groups": 65534 in os.getgroups() and os.environ["ROOT"] == "yes",
            "bundle": json.loads(pathlib.Path("/var/run/lyftlearn/bundle.json").read_bytes())["job"]["id"],
            "address": socket.gethostbyname(socket.gethostname()),
            "null": pathlib.Path("/dev/null").is_char_device(),
        }))
        pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "m").write_text("w")
    """
    spec = make_spec(python(code), env={"ROOT": "yes" if os.geteuid() == 0 else "only root can drop its groups"})
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    seen = json.loads(lines(backend, spec.id)[0])
    assert seen == {
        "account": ["ca.crt", "namespace", "token"],
        "service": "127.0.0.1:443",
        "names": [f"{spec.id}-local"] * 2,
        "user": [1000, 1000],
        "setgid": [False, False, False],  # a volume gives it, and the runtime takes it away
        "groups": False,
        "bundle": spec.id,
        "address": "127.0.0.1",
        "null": True,
    }


def test_an_instance_of_sagemaker(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """`/opt/ml` as documented; the platform's own variables are given to the container, and hidden from the command."""
    backend = make_backend("local-sagemaker")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.csv").write_text("1,2")
    code = """
        import json, os, pathlib
        ml = pathlib.Path("/opt/ml")
        config = {path.stem: json.loads(path.read_text()) for path in (ml / "input/config").iterdir()}
        print(json.dumps({
            "config": config,
            "input": (ml / "input/data/train/a.csv").read_text(),
            "same": pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "train/a.csv").read_text(),
            "user": os.getuid(),
            "shown": [name for name in os.environ if name.startswith(("SM_", "TRAINING_JOB"))],
            "region": os.environ["AWS_REGION"],
        }))
    """
    spec = make_spec(python(code), inputs={"train": (tmp_path / "train").as_uri()}, nodes=2)
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    seen = json.loads(lines(backend, spec.id, node=1)[0])
    assert seen["config"]["resourceconfig"]["current_host"] == "algo-2"
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1", "algo-2"]
    assert sorted(seen["config"]["inputdataconfig"]) == ["lyftlearn", "train"]
    assert seen["config"]["hyperparameters"] == {}
    assert (seen["input"], seen["same"], seen["user"], seen["shown"]) == ("1,2", "1,2", 0, [])


def test_the_container_of_sagemaker_has_what_the_runtime_hides(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """A layout that did not give these variables would prove nothing about their being hidden."""
    backend = make_backend("local-sagemaker")
    spec = make_spec("echo up; sleep 60")
    submit(backend, spec)
    until(backend, spec.id, lambda record: record.event.status is JobStatus.RUNNING)
    runtimes = [
        path.parent
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"{spec.id}/runtime.pyz" in path.read_text(errors="replace")
        and "bwrap" not in path.read_text(errors="replace")
    ]
    given = (runtimes[0] / "environ").read_text().split("\0")
    assert f"TRAINING_JOB_NAME={spec.id}" in given
    assert "SM_MODEL_DIR=/opt/ml/model" in given
    backend.stop(spec.id)
    until(backend, spec.id, lambda record: record.event.status.finished)


def observe(backend: Backend, spec: JobSpec, **changes: Any) -> dict[str, Any]:
    """Return what the parity probe sees in a job, every mode among it. changes: of how the job is run."""
    backend.submit(with_run(backend.plan(spec), **changes))
    assert finish(backend, spec.id).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    return dict(json.loads(lines(backend, spec.id)[0]))


def test_modes_are_the_same_everywhere(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A program that shares memory with another user, or writes beside its model, may do so on every platform."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.csv").write_text("1,2")
    modes = {}
    for layout in LAYOUTS:
        spec = make_spec((sys.executable, probe.__file__), inputs={"train": (tmp_path / "train").as_uri()}, env=KEY)
        seen = observe(make_backend(layout), spec)
        modes[layout] = {path: facts["mode"] for path, facts in seen["files"].items()}
        modes[layout][SHARED_MEMORY] = seen["machine"]["shared_memory"]["mode"]
    assert modes["local"][SHARED_MEMORY] == "drwxrwxrwt"
    assert len(modes["local"]) > len(("model", "outputs", "inputs", "train"))
    assert modes["local"] == modes["local-kubernetes"] == modes["local-sagemaker"]


OLD = """#!/bin/sh
case " $* " in *" --perms "*) echo "bwrap: Unknown option --perms"; exit 1;; esac
exec bwrap "$@"
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shared_memory_by_an_old_bubblewrap(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, layout: str
) -> None:
    """Bubblewrap before 0.5 mounts with mode 0755 alone, where a second user could share nothing."""
    old = tmp_path / "old"
    old.write_text(OLD)
    old.chmod(0o755)
    spec = make_spec((sys.executable, probe.__file__), env=KEY)
    seen = observe(make_backend(layout), spec, namespaces=str(old), sets_modes=False)
    assert seen["machine"]["shared_memory"]["mode"] == "drwxrwxrwt"


def test_artifacts_have_the_same_bytes(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A model trained elsewhere must not differ by how it was packed."""
    command = """
        cd $LYFTLEARN_MODEL_DIR && mkdir -p b/c && echo weights > b/c/w && echo a > a && ln -s a link
        echo m > $LYFTLEARN_OUTPUTS_DIR/output/metrics
    """
    digests, members = {}, []
    for layout in LAYOUTS:
        backend, spec = make_backend(layout), make_spec(command)
        assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
        outputs = backend.outputs(spec.id)
        model = Path(outputs["model"].removeprefix("file://"))
        archive, _, inside = outputs["output"].removeprefix("file://").partition("#")
        with tarfile.open(archive) as found:
            members.append(sorted(found.getnames()))
            assert f"{inside}/metrics" in members[-1]
        digests[layout] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (model, Path(archive))]
    assert digests["local"] == digests["local-kubernetes"] == digests["local-sagemaker"]


def test_nothing_is_packed_where_sagemaker_packs_nothing(make_backend: MakeBackend, make_spec: MakeSpec) -> None:
    """A caller that copes with an absent archive here copes with it there; directories alone are nothing, too."""
    backend = make_backend("local-sagemaker")
    left = make_spec("mkdir $LYFTLEARN_MODEL_DIR/empty; echo m > $LYFTLEARN_OUTPUTS_DIR/output/metrics")
    assert run(backend, left).event.status is JobStatus.SUCCEEDED, lines(backend, left.id)
    outputs = {name: Path(uri[7:].partition("#")[0]) for name, uri in backend.outputs(left.id).items()}
    assert {name: path.exists() for name, path in outputs.items()} == {"model": False, "output": True}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_output_with_a_place_of_its_own(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, layout: str
) -> None:
    """It goes there as files, and is not in the archive."""
    backend, apart = make_backend(layout), tmp_path / "apart"
    outputs = {"features": apart.as_uri(), "stats": None}
    command = "for name in features stats; do echo $name > $LYFTLEARN_OUTPUTS_DIR/$name/f; done"
    spec = make_spec(command, kind=JobKind.PROCESS, outputs=outputs)
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    assert (apart / "f").read_text() == "features\n"
    assert backend.outputs(spec.id) == {"features": apart.as_uri(), "stats": f"{spec.output_uri}/output.tar.gz#stats"}
    with tarfile.open(f"{spec.output_uri.removeprefix('file://')}/output.tar.gz") as archive:
        assert [name for name in archive.getnames() if name.endswith("/f")] == ["stats/f"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_predict_reads_what_train_wrote(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """The model of one job is the artifact of the next."""
    backend = make_backend(layout)
    trained = make_spec("echo weights > $LYFTLEARN_MODEL_DIR/w")
    run(backend, trained)
    artifact = backend.outputs(trained.id)["model"]
    spec = make_spec(
        "cat $LYFTLEARN_MODEL_DIR/w", kind=JobKind.PREDICT, artifact=artifact, outputs={"predictions": None}
    )
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED, lines(backend, spec.id)
    assert lines(backend, spec.id) == ["weights"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_input_that_is_not_there(
    make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path, layout: str
) -> None:
    """The job fails before its command, and names the channel."""
    backend = make_backend(layout)
    spec = make_spec("echo never", inputs={"train": (tmp_path / "gone").as_uri()})
    event = run(backend, spec).event
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert "train" in event.message
    assert "never" not in lines(backend, spec.id)


def test_an_upload_that_fails_on_sagemaker(make_backend: MakeBackend, make_spec: MakeSpec, tmp_path: Path) -> None:
    """A model that could not be kept is a failed job, never a success without a model."""
    (tmp_path / "file").write_text("in the way")
    backend = make_backend("local-sagemaker")
    spec = make_spec("echo w > $LYFTLEARN_MODEL_DIR/w", output_uri=(tmp_path / "file/below").as_uri())
    event = run(backend, spec).event
    assert event.status is JobStatus.FAILED
    assert event.message


@pytest.mark.parametrize(
    ("layout", "expected"), [("local", "a\r"), ("local-kubernetes", "a"), ("local-sagemaker", "a\r")]
)
def test_the_end_of_a_line_from_windows(
    make_backend: MakeBackend, make_spec: MakeSpec, layout: str, expected: str
) -> None:
    """Containerd takes a carriage return before the newline for a part of the line's end."""
    backend = make_backend(layout)
    spec = make_spec(r"printf 'a\r\nb\rc\n'", kind=JobKind.PROCESS)
    assert run(backend, spec).event.status is JobStatus.SUCCEEDED
    assert lines(backend, spec.id) == [expected, "b\rc"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_success_after_a_retry_has_its_attempt(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """Who looks only at the end learns as much as who watched: SageMaker's layout has a report of failures alone."""
    backend = make_backend(layout)
    event = run(backend, make_spec('test "$LYFTLEARN_ATTEMPT" = 2', retries=1)).event
    assert (event.status, event.attempt) == (JobStatus.SUCCEEDED, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_failure_in_its_own_words(make_backend: MakeBackend, make_spec: MakeSpec, layout: str) -> None:
    """Each platform has another place for last words; they arrive all the same."""
    backend = make_backend(layout)
    event = run(backend, make_spec("echo it was the data >&2; exit 42", retries=1)).event
    assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 42)
    assert "it was the data" in event.message
    assert event.attempt == 2
    assert event.started_at is not None
