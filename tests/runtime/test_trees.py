"""Walking through the contract's directories finds the same everywhere, whatever a substrate links or mounts."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

SUBSTRATES = ["kubernetes", "sagemaker", "local"]
WALKS = """
import glob, json, os, pathlib, subprocess
def all_ways(top):
    walked = [os.path.join(place, name) for place, _, names in os.walk(top) for name in names]
    return {
        "walk": sorted(walked),
        "glob": sorted(path for path in glob.glob(os.path.join(top, "**"), recursive=True) if os.path.isfile(path)),
        "rglob": sorted(str(path) for path in pathlib.Path(top).rglob("*") if path.is_file()),
        "directories": sorted(str(path) for path in pathlib.Path(top).rglob("*") if path.is_dir()),
        "listed": sorted(os.listdir(top)),
    }
tops = [os.environ[f"LYFTLEARN_{name}_DIR"] for name in ("INPUTS", "MODEL", "OUTPUTS", "CHECKPOINTS")]
for top in tops[1:]:
    os.makedirs(f"{top}/deep/er", exist_ok=True)
    pathlib.Path(f"{top}/deep/er/file").touch()
pathlib.Path(f"{tops[2]}/apart/one").touch()
inputs = tops[0]
plain = subprocess.run(["find", f"{inputs}/train", "-type", "f"], capture_output=True, text=True).stdout.split()
print(json.dumps({
    **{top: all_ways(top) for top in [*tops, f"{inputs}/train", f"{tops[2]}/apart"]},
    "content": pathlib.Path(f"{inputs}/train/year=2026/part.csv").read_text(),
    "plain files": sorted(plain),
}))
"""
FILES = ["part.csv", "year=2026/part.csv", "year=2026/month=11/part.csv"]


def fill(channel: Path) -> None:
    for name in FILES:
        (channel / name).parent.mkdir(parents=True, exist_ok=True)
        (channel / name).write_text(f"{name}\n")


def walking(containers: Any, substrate: str) -> Any:
    outputs = {"output": {"uri": None}, "apart": {"uri": "/kept"}}
    container = containers.make(substrate, ["python3", "-c", WALKS], model=True, outputs=outputs)
    container.document["outputs"]["apart"]["uri"] = f"file://{container.directory}/kept/apart"
    container.document["inputs"] = {"train": {"mode": "mounted"}}
    fill(container.ml / "input/data/train" if substrate == "sagemaker" else container.root / "inputs/train")
    return container


def seen(container: Any) -> dict[str, Any]:
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    return dict(json.loads(result.output.splitlines()[0]))  # others name what the walk left beside the outputs


@pytest.mark.contract("C-DATA-2", "C-SUB-3")
def test_every_way_finds_the_same_on_every_substrate(containers: Any) -> None:
    """`os.walk` does not enter links, so a link in place of a channel would be an empty dataset, silently."""
    found = {substrate: seen(walking(containers, substrate)) for substrate in SUBSTRATES}
    assert found["sagemaker"] == found["kubernetes"] == found["local"]
    inputs = found["kubernetes"]["/lyftlearn/inputs"]
    assert inputs["walk"] == inputs["rglob"] == sorted(f"/lyftlearn/inputs/train/{name}" for name in FILES)
    assert inputs["listed"] == ["train"]


@pytest.mark.parametrize("how", ["a mount of its own", "read-only", "all read-only"])
def test_channels_that_cannot_be_moved(containers: Any, how: str) -> None:
    """A streamed channel is a mount of its own: its directories are real all the same, only its files are links."""
    expected = seen(walking(containers, "kubernetes"))
    container = walking(containers, "sagemaker")
    apart = container.directory / "streamed"
    fill(apart)
    data = container.ml / "input/data"
    container.ml_mounts = {
        "a mount of its own": ["--bind", str(apart), "/opt/ml/input/data/train"],
        "read-only": ["--ro-bind", str(apart), "/opt/ml/input/data/train"],
        "all read-only": ["--ro-bind", str(data), "/opt/ml/input/data"],
    }[how]
    found = seen(container)
    assert (found.pop("plain files"), expected.pop("plain files") != []) == ([], True)
    assert found == expected


@pytest.mark.contract("C-DATA-2")
def test_a_file_that_only_its_owner_may_read(containers: Any) -> None:
    """Root fetches and another user reads: what was fetched is that user's, as in a pod, where that user fetches."""
    container = containers.make("local", ["python3", "-c", "print(open('/lyftlearn/inputs/train/part.csv').read())"])
    fill(container.directory / "kept/train")
    (container.directory / "kept/train/part.csv").chmod(0o600)
    container.document["inputs"] = {"train": {"uri": f"file://{container.directory}/kept/train", "mode": "fetch"}}
    assert container.run().output.splitlines()[0] == b"part.csv"


def test_a_container_that_starts_again(containers: Any) -> None:
    """What the first start has moved is where the second looks."""
    container = walking(containers, "sagemaker")
    assert seen(container) == seen(container)


def test_code_that_knows_sagemakers_own_path(containers: Any) -> None:
    """A script that was written for SageMaker still finds its channel where SageMaker's documentation says."""
    container = walking(containers, "sagemaker")
    container.document["command"] = ["cat", "/opt/ml/input/data/train/year=2026/part.csv"]
    assert container.run().output.splitlines()[0] == b"year=2026/part.csv"


REPLACED = """
rm -rf $LYFTLEARN_MODEL_DIR $LYFTLEARN_OUTPUTS_DIR/output; mkdir $LYFTLEARN_MODEL_DIR $LYFTLEARN_OUTPUTS_DIR/output
echo new > $LYFTLEARN_MODEL_DIR/model.bin; ln -s model.bin $LYFTLEARN_MODEL_DIR/latest
echo new > $LYFTLEARN_OUTPUTS_DIR/output/log.txt
"""


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_model_directory_that_the_command_made_anew(containers: Any, substrate: str) -> None:
    """`rm -rf $DIR && mkdir $DIR` is a common first line of scripts; a model written after it is the job's model."""
    script = f"echo old > $LYFTLEARN_MODEL_DIR/old.bin; {REPLACED}"
    container = containers.make(substrate, ["/bin/sh", "-ec", script], model=True, outputs={"output": {"uri": None}})
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    with tarfile.open(container.artifacts / "model.tar.gz") as archive:
        assert {member.name.removeprefix("./") for member in archive} == {"model.bin", "latest"}
    with tarfile.open(container.artifacts / "output.tar.gz") as archive:
        assert {member.name.removeprefix("./").rstrip("/") for member in archive} == {"output", "output/log.txt"}


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_model_directory_without_end(containers: Any, substrate: str) -> None:
    """A program that goes astray, such as a copy of a directory into itself, does not cost the model."""
    deep = "[(os.mkdir('d'), os.chdir('d')) for _ in range(1500)]"
    program = f"import os; os.chdir(os.environ['LYFTLEARN_MODEL_DIR']); open('model.bin', 'w').close(); {deep}"
    result = containers.make(substrate, ["python3", "-c", program], model=True).run()
    assert result.exit_code == 0, result.output.decode()
    assert b"is not kept: it lies below 255 directories" in result.output
