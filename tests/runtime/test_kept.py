"""What a command leaves in its model and outputs, however it leaves them, ends alike on every substrate."""

from __future__ import annotations

import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import archives

SUBSTRATES = ["kubernetes", "sagemaker", "local"]
LINKS = """
cd $LYFTLEARN_MODEL_DIR; mkdir ckpt-500 $TMPDIR/away; echo w > ckpt-500/w; echo o > $TMPDIR/away/o
ln -s $LYFTLEARN_MODEL_DIR/ckpt-500 latest; ln -s $(realpath ckpt-500/w) best; ln -s ckpt-400 gone
ln -s $TMPDIR/away out; ln -s . self; ln -s latest chain
"""


def run(containers: Any, substrate: str, script: str, **fields: Any) -> tuple[Any, Any]:
    fields = {"model": True, "outputs": {"output": {"uri": None}}, **fields}
    container = containers.make(substrate, ["/bin/sh", "-ec", script], **fields)
    return container, container.run()


def unpacked(container: Any, name: str = "model") -> dict[str, str]:
    """What whoever downloads it gets; nothing, where the platform has packed nothing."""
    path, out = container.artifacts / f"{name}.tar.gz", container.directory / f"downloaded-{name}"
    if path.exists():
        with tarfile.open(path) as archive:
            assert not [member.linkname for member in archive if member.linkname.startswith(("/", ".."))]
        archives.unpack(str(path), str(out))
    return {
        str(path.relative_to(out)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(out.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_links_in_a_model(containers: Any, substrate: str) -> None:
    """`latest -> $LYFTLEARN_MODEL_DIR/ckpt-500` is how training libraries name the newest one."""
    container, result = run(containers, substrate, LINKS)
    assert result.exit_code == 0, result.output
    linked = {"latest": "-> ckpt-500", "chain": "-> ckpt-500", "best": "-> ckpt-500/w"}
    assert unpacked(container) == {"ckpt-500/w": "w\n", "out/o": "o\n", **linked}
    for name in ("gone", "self"):
        assert f"/{name} is not kept".encode() in result.output


@pytest.mark.parametrize("substrate", SUBSTRATES)
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("rm -rf $LYFTLEARN_MODEL_DIR", {}),
        ("cd $LYFTLEARN_MODEL_DIR; mkdir d; echo w > d/w; chmod 000 d/w d", {"d/w": "w\n"}),
        ("echo w > $LYFTLEARN_MODEL_DIR/w; chmod 000 $LYFTLEARN_MODEL_DIR/", {"w": "w\n"}),
        (
            "cd $TMPDIR; mkdir m; echo w > m/w; rm -rf $LYFTLEARN_MODEL_DIR; ln -s $TMPDIR/m $LYFTLEARN_MODEL_DIR",
            {"w": "w\n"},
        ),
        ("rm -rf $LYFTLEARN_MODEL_DIR; ln -s /nowhere $LYFTLEARN_MODEL_DIR", {}),
        ("rm -rf $LYFTLEARN_OUTPUTS_DIR; echo w > $LYFTLEARN_MODEL_DIR/w", {"w": "w\n"}),
    ],
    ids=["removed", "unreadable inside", "unreadable", "linked elsewhere", "linked nowhere", "no outputs"],
)
def test_a_model_directory_that_the_command_changed(
    containers: Any, substrate: str, script: str, expected: dict[str, str]
) -> None:
    """It is the command's own: nothing of it is the platform's failure, and the same is kept everywhere."""
    container, result = run(containers, substrate, script)
    assert (result.exit_code, b"Traceback" in result.output) == (0, False), result.output
    assert unpacked(container) == expected


@pytest.mark.contract("C-KEEP-4")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_file_in_place_of_the_model_directory(containers: Any, substrate: str) -> None:
    """The command is told what it did; the platform has not failed."""
    script = "rm -rf $LYFTLEARN_MODEL_DIR; echo w > $LYFTLEARN_MODEL_DIR"
    _, result = run(containers, substrate, script)
    assert (result.facts["reason"], b"Traceback" in result.output) == ("user-error", False)
    assert "put a file in place of the directory /lyftlearn/model" in result.last_words


PLACED = "rm -rf $LYFTLEARN_OUTPUTS_DIR/report; echo w > $LYFTLEARN_OUTPUTS_DIR/report"


@pytest.mark.contract("C-KEEP-4")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_file_in_place_of_an_output_s_directory(containers: Any, substrate: str) -> None:
    """`> $LYFTLEARN_OUTPUTS_DIR/report` was packed, and an empty directory was what a download brought."""
    container = containers.make(substrate, ["/bin/sh", "-c", PLACED], outputs={"report": {"uri": None}})
    result = container.run()
    assert (result.facts["reason"], b"Traceback" in result.output) == ("user-error", False)
    assert "put a file in place of the directory /lyftlearn/outputs/report" in result.last_words


@pytest.mark.contract("C-KEEP-5")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_what_is_in_no_output_is_named(containers: Any, substrate: str) -> None:
    """It was packed beside the outputs, where neither a download nor another job reads it, and nobody was told."""
    script = "cd $LYFTLEARN_OUTPUTS_DIR; echo 1 > a.csv; mkdir other; echo 2 > other/b.csv; echo 3 > report/c.csv"
    container = containers.make(substrate, ["/bin/sh", "-c", script], outputs={"report": {"uri": None}})
    result = container.run()
    assert result.exit_code == 0, result.output
    assert b"in no output is lost: a.csv, other; this job's outputs are report\n" in result.output


def test_a_model_below_the_one_that_sagemaker_packs(containers: Any) -> None:
    """`best` becomes the model: emptying the directory first would empty the model."""
    script = "mkdir /opt/ml/model/best; echo w > /opt/ml/model/best/w; echo x > /opt/ml/model/x; "
    script += "rm $LYFTLEARN_MODEL_DIR; ln -s /opt/ml/model/best $LYFTLEARN_MODEL_DIR"
    container, result = run(containers, "sagemaker", script)
    assert result.exit_code == 0, result.output
    assert unpacked(container) == {"w": "w\n"}


@pytest.mark.contract("C-KEEP-5")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_train_job_without_a_model_says_so(containers: Any, substrate: str) -> None:
    """It succeeds, and a model URI that holds nothing is found out when it is to serve."""
    _, result = run(containers, substrate, "echo trained")
    assert result.exit_code == 0
    first, *rest = result.output.decode().splitlines()
    assert first == "trained"
    assert [line for line in rest if "this job has no model" in line and "LYFTLEARN_MODEL_DIR" in line]
    _, result = run(containers, substrate, "echo w > $LYFTLEARN_MODEL_DIR/w")
    assert result.output == b""


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_files_in_the_working_directory_are_named(containers: Any, substrate: str) -> None:
    """`model.save("model.pkl")` is the commonest way to lose a model: it goes with the container."""
    container = containers.make(substrate, ["/bin/sh", "-c", "sh train.sh"], model=True)
    source = container.directory / "source"
    source.mkdir()
    (source / "train.sh").write_text("mkdir d; echo m > d/model.pkl; echo l > log.txt")
    packed = container.directory / "kept/source.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(source, ".")
    container.document["source"] = {"uri": str(packed), "sha256": None}
    result = container.run()
    assert result.exit_code == 0, result.output
    assert b"not kept: d/model.pkl, log.txt. Write to LYFTLEARN_MODEL_DIR" in result.output


def test_a_process_job_that_keeps_nothing_and_loses_nothing_is_quiet(containers: Any) -> None:
    """Jobs that write to a database have no outputs."""
    _, result = run(containers, "kubernetes", "echo done", model=False)
    assert result.output == b"done\n"


@pytest.mark.contract("C-KEEP-2")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_names_that_a_uri_would_change(containers: Any, substrate: str) -> None:
    """`#`, `?`, `%` and blanks are parts of names: two files must not become one."""
    names = ["run#1.csv", "run#2.csv", "what?.csv", "100%.csv", "%23.csv", "a b.csv", "jos\u00e9.csv", "x" * 255]
    script = "cd $LYFTLEARN_OUTPUTS_DIR/apart; " + "; ".join(f"echo '{name}' > '{name}'" for name in names)
    container = containers.make(substrate, ["/bin/sh", "-ec", script])
    apart = container.directory / "kept/my runs #1/100%"
    container.document["outputs"] = {"apart": {"uri": apart.as_uri()}}
    result = container.run()
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_text() for path in apart.iterdir()} == {name: f"{name}\n" for name in names}


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_links_in_an_output_with_a_uri(containers: Any, substrate: str) -> None:
    """Followed blindly, a link to the own directory is forty copies, and two of them never end."""
    script = "cd $LYFTLEARN_OUTPUTS_DIR/apart; mkdir d; echo f > d/f; ln -s . self; ln -s . other; ln -s d link; "
    script += "ln -s ../.. d/up; ln -s gone dangling; mkfifo pipe"
    container = containers.make(substrate, ["/bin/sh", "-ec", script])
    apart = container.directory / "kept/apart"
    container.document["outputs"] = {"apart": {"uri": apart.as_uri()}}
    result = container.run()
    assert result.exit_code == 0, result.output
    assert sorted(str(path.relative_to(apart)) for path in apart.rglob("*") if path.is_file()) == ["d/f", "link/f"]
    for name in ("self", "other", "d/up", "dangling", "pipe"):
        assert f"/{name} is not kept".encode() in result.output, result.output


def test_two_containers_write_beside_each_other(containers: Any, tmp_path: Path) -> None:
    """Each is PID 1 of its own container: a name made of it is the same name."""
    from lyftlearn.runtime.storage import FileSink

    sinks = [FileSink(str(tmp_path / "shared")) for _ in range(2)]
    for number, sink in enumerate(sinks):
        sink.write(str(number).encode() * 10)
    for sink in sinks:
        sink.commit()
    assert (tmp_path / "shared").read_text() == "1" * 10
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


@pytest.mark.contract("C-TIME-3")
def test_the_timeout_ends_an_upload_too(containers: Any) -> None:
    """A storage that never answers must not hold the job for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        script = "echo x > $LYFTLEARN_OUTPUTS_DIR/apart/x"
        container = containers.make("local", ["/bin/sh", "-c", script], timeout=2, grace=1)
        container.document["outputs"] = {"apart": {"uri": "s3://bucket/apart"}}
        container.network = True
        container.variables |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        container.variables["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = container.run()
    assert (result.exit_code, result.facts["reason"], result.facts["exit_code"]) == (124, "timeout", None)
    assert result.last_words == "the timeout passed while the model and the outputs were kept"
