"""What one job leaves is what the next one reads, wherever the home and the storage are, whatever they are called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn import Client, Job

LAYOUTS = (
    "local",
    *(pytest.param(name, marks=pytest.mark.containers) for name in ("local-kubernetes", "local-sagemaker")),
)
MakeClient = Callable[[str], Client]
LEAVE = "echo weights > $LYFTLEARN_MODEL_DIR/w; echo data > $LYFTLEARN_OUTPUTS_DIR/output/d"
SHOW = "cd $LYFTLEARN_INPUTS_DIR; find . -type f | sort; cat $(find . -name d)"


@pytest.fixture
def make_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeClient:
    """Return a maker of clients, each with a home of another name."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "none"))
    return lambda name: Client(config={"home": str(tmp_path / name / "lyftlearn")})


def finish(job: Job) -> list[str]:
    """Wait for success, and return what the command printed."""
    job.wait("120s", progress=False)
    return [line for line in job.logs() if not line.startswith("lyftlearn: ")]


@pytest.mark.containers
@pytest.mark.parametrize("home", ["plain", "My Home", "josé", "run#1", "100%", "a%20b", "a?b", "x.tar.gz#y"])
def test_homes_of_any_name(make_client: MakeClient, home: str, tmp_path: Path) -> None:
    """People have spaces and accents in their names, and so in the paths of their homes."""
    client = make_client(home)
    first = client.train("eta", command=LEAVE)
    finish(first)
    first.download(tmp_path / "out")
    assert (tmp_path / "out/output/d").read_text() == "data\n"
    second = client.predict(
        "eta",
        artifact=first,
        command=f"cat $LYFTLEARN_MODEL_DIR/w; {SHOW}",
        inputs={"from": first.outputs["output"]},
    )
    assert finish(second) == ["weights", "./from/d", "data"]
    third = client.predict("eta", artifact=first.outputs["model"], command="cat $LYFTLEARN_MODEL_DIR/w", inputs={})
    assert finish(third) == ["weights"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_outputs(make_client: MakeClient, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default storage is a directory, and pipelines are made of jobs."""
    monkeypatch.setenv("LYFTLEARN_BACKEND", layout)
    client = make_client("home")
    first = client.process("clean", command="echo data > $LYFTLEARN_OUTPUTS_DIR/a/d", outputs=["a", "b"])
    finish(first)
    inputs = {"from": first.outputs["a"], "nothing": first.outputs["b"]}
    second = client.process("next", command=f"{SHOW}; ls nothing", inputs=inputs)
    assert finish(second) == ["./from/d", "data"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_job_did_not_leave_is_empty(
    make_client: MakeClient, layout: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some platforms make no archive of nothing; whoever downloads or reads it finds an empty directory."""
    monkeypatch.setenv("LYFTLEARN_BACKEND", layout)
    client = make_client("home")
    first = client.train("eta", command="true")
    finish(first)
    shutil.rmtree(tmp_path / "home/lyftlearn/storage/jobs" / first.id, ignore_errors=True)
    first.download(tmp_path / "out")
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*")) == [
        "out/model",
        "out/output",
    ]
    second = client.predict(
        "eta",
        artifact=first,
        command="find $LYFTLEARN_MODEL_DIR/ $LYFTLEARN_INPUTS_DIR/from/ -mindepth 1",
        inputs={"from": first.outputs["output"]},
        key="same",
    )
    assert finish(second) == []
    by_uri = client.predict(
        "eta", artifact=first.outputs["model"], command="ls $LYFTLEARN_MODEL_DIR", inputs={"m": first.outputs["model"]}
    )
    assert finish(by_uri) == []


def test_what_a_failed_job_did_not_leave_is_a_fault(make_client: MakeClient, tmp_path: Path) -> None:
    """An empty input in the place of a missing one would be trained on."""
    client = make_client("home")
    first = client.train("eta", command="exit 1")
    first.wait("120s", check=False, progress=False)
    with pytest.raises(lyftlearn.LyftLearnError, match=f"{first.id} has status failed: only a job that succeeds"):
        first.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(KeyError, match=f"{first.id} has status failed: only a job that succeeds"):
        first.outputs["output"]
    with pytest.raises(lyftlearn.InvalidJob, match=f"{first.id} has status failed: give a train job that succeeded"):
        client.predict("eta", artifact=first, command="true", inputs={})
    uri = f"{tmp_path / 'home' / 'storage' / 'jobs' / first.id / 'output' / 'output.tar.gz'}#output"
    with pytest.raises(lyftlearn.InvalidJob, match="is not there"):
        client.process("next", command="true", inputs={"from": uri})


def test_a_file_of_the_name_of_a_member_is_a_file(make_client: MakeClient, tmp_path: Path) -> None:
    """`#` is a character like any other where a file has it in its name."""
    (tmp_path / "a.tar.gz#b").write_text("1")
    (tmp_path / "run#1").mkdir()
    (tmp_path / "run#1/x y").write_text("2")
    inputs: dict[str, str | Path] = {
        "a": tmp_path / "a.tar.gz#b",
        "b": str(tmp_path / "run#1"),
        "c": (tmp_path / "run#1/x y").as_uri(),
    }
    job = make_client("home").process("read", command="cd $LYFTLEARN_INPUTS_DIR; find . -type f | sort", inputs=inputs)
    assert finish(job) == ["./a/a.tar.gz#b", "./b/x y", "./c/x y"]


@pytest.mark.parametrize("source", ["", "s3://bucket/code", "gs://bucket/code", 7])
def test_a_source_is_on_this_machine(make_client: MakeClient, source: object) -> None:
    """An empty text is no directory, and a bucket is no source: both are said at once."""
    with pytest.raises(lyftlearn.InvalidJob, match="write the path of a directory or archive on this machine"):
        make_client("home").train("eta", command="true", source=source)  # type: ignore[arg-type]


def test_a_source_may_be_a_uri(make_client: MakeClient, tmp_path: Path) -> None:
    """What `Path.as_uri` gives is a path like any."""
    (tmp_path / "my code").mkdir()
    (tmp_path / "my code/x.py").write_text("print('here')")
    job = make_client("home").train("eta", command="python3 x.py", source=(tmp_path / "my code").as_uri())
    assert "here" in finish(job)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_in_a_storage_are_their_owners_alone(
    make_client: MakeClient, layout: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Models are as confidential as the code and the logs, which nobody else may read either."""
    monkeypatch.setenv("LYFTLEARN_BACKEND", layout)
    before = os.umask(0o022)
    try:
        (tmp_path / "code").mkdir()
        job = make_client("home").train("eta", command=LEAVE, source=tmp_path / "code", key="nightly")
        finish(job)
    finally:
        os.umask(before)
    storage = tmp_path / "home/lyftlearn/storage"
    assert {path.name for path in storage.iterdir()} >= {"claims", "jobs", "sources"}
    open_to_others = [path for path in (storage, *storage.rglob("*")) if path.stat().st_mode & 0o077]
    assert open_to_others == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("x", "x"), ("x", "x/"), ("x", "%78"), ("x", "y/../x"), ("x/.", "x"), ("x", "x/f"), ("x/f", "x")],
)
def test_outputs_that_would_write_one_file(make_client: MakeClient, tmp_path: Path, first: str, second: str) -> None:
    """One of the two was lost in silence. Outputs of one place whose files have other names are kept."""
    top = (tmp_path / "place").as_uri()
    outputs = {"a": f"{top}/{first}", "b": f"{top}/{second}"}
    names = ("f/g", "g") if second == "x/f" else ("g", "f/g") if first == "x/f" else ("g", "g")
    paths = [f"{name}/{one}" for name, one in zip("ab", names, strict=True)]
    clash = "; ".join(f"mkdir -p $(dirname {path}); echo x > {path}" for path in paths)
    client = make_client("home")
    job = client.process("clean", command=f"cd $LYFTLEARN_OUTPUTS_DIR; {clash}", outputs=outputs)
    state = job.wait("120s", check=False, progress=False)
    assert state.reason == "user-error"
    assert "the outputs a and b both have file://" in state.message
    assert not (tmp_path / "place").exists()
    apart = client.process("clean", command="cd $LYFTLEARN_OUTPUTS_DIR; touch a/one b/two", outputs=outputs)
    finish(apart)
    assert sorted(path.name for path in (tmp_path / "place").rglob("*") if path.is_file()) == ["one", "two"]
