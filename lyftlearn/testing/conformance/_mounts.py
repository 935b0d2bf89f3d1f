"""Shared file systems: what lies under a mount is passed on by name, and everything else travels."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops

_COUNT = """
import os, pathlib
inputs, outputs = (pathlib.Path(os.environ[f"LYFTLEARN_{name}_DIR"]) for name in ("INPUTS", "OUTPUTS"))
rides = sum(len(path.read_text().split()) for path in sorted((inputs / "rides").iterdir()))
print(rides, (inputs / "one" / "jan.txt").read_text().split())
try:
    (inputs / "rides" / "mar.txt").write_text("4")
except OSError:
    pass
(outputs / "counts" / "count.txt").write_text(str(rides))
"""
_READ = """
import os, pathlib
for path in sorted(pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"]).glob("*/*")):
    print(path.parent.name, path.name, path.read_text().split())
"""
_USE = "import os, pathlib; print(pathlib.Path(os.environ['LYFTLEARN_MODEL_DIR'], 'model.txt').read_text())"


class MountsConformance:
    """`[mounts]`: files on a shared file system, which move with no call site. It needs the fixtures of the client.

    `config` must have a mount `data` with the path `/data`, which is the directory `mount_directory` of this machine.
    """

    @pytest.fixture
    def mount_directory(self) -> Path:
        """The directory of this machine that stands behind `/data`. Replace it where the backend has mounts."""
        pytest.skip("lacks mounts: the test of this backend has no fixture `mount_directory`")

    @pytest.fixture
    def rides(self, mount_directory: Path) -> Path:
        """Two files under the mount, which call sites name `/data/rides`."""
        (mount_directory / "rides").mkdir(parents=True)
        for month, text in {"jan": "1\n2\n", "feb": "3\n"}.items():
            (mount_directory / "rides" / f"{month}.txt").write_text(text)
        return mount_directory / "rides"

    def test_what_is_mounted_is_read_and_written_where_it_lies(
        self, client: lyftlearn.Client, rides: Path, python: Sequence[str], patience: str
    ) -> None:
        """A directory and one file are read, an output lies there under its name, and the next job reads that."""
        inputs, outputs = (
            {"rides": "file:///data/rides/", "one": "/data/rides/jan.txt"},
            {"counts": "file:///data/counts/"},
        )
        call: dict[str, Any] = {
            "name": "conformance",
            "command": [*python, "-c", _COUNT],
            "inputs": inputs,
            "outputs": outputs,
        }
        _passes_by_name(client, "process", call)
        job = client.process(**call)
        job.wait(patience)
        assert list(job.logs()) == ["3 ['1', '2']"]
        assert (rides.parent / "counts" / "count.txt").read_text() == "3"
        assert sorted(path.name for path in rides.iterdir()) == ["feb.txt", "jan.txt"], "an input was written to"
        call = {"name": "conformance", "command": [*python, "-c", _READ], "inputs": {"counts": job.outputs["counts"]}}
        _passes_by_name(client, "process", call)
        following = client.process(**call)
        following.wait(patience)
        assert list(following.logs()) == ["counts count.txt ['3']"]

    @pytest.mark.parametrize("artifact", ["file:///data/models/eta/", "/data/models/eta.tar.gz"])
    def test_a_model_on_a_mount_is_used(
        self, client: lyftlearn.Client, rides: Path, python: Sequence[str], patience: str, artifact: str
    ) -> None:
        """As a directory, and as an archive."""
        model = rides.parent / "models" / "eta" / "model.txt"
        model.parent.mkdir(parents=True)
        model.write_text("trained")
        with tarfile.open(rides.parent / "models" / "eta.tar.gz", "w:gz") as archive:
            archive.add(model, "model.txt")
        inputs = {"rides": "file:///data/rides/"}
        call: dict[str, Any] = {
            "model": "conformance",
            "artifact": artifact,
            "command": [*python, "-c", _USE],
            "inputs": inputs,
        }
        _passes_by_name(client, "predict", call)
        job = client.predict(**call)
        job.wait(patience)
        assert list(job.logs()) == ["trained"]

    def test_what_is_under_no_mount_travels_and_the_plan_says_how_much(
        self, client: lyftlearn.Client, rides: Path, python: Sequence[str], patience: str, tmp_path: Path
    ) -> None:
        """Whoever pays for the transfer wants to know of it before it begins. One that sees this machine needs none."""
        del rides
        here = tmp_path / "data" / "here"
        here.mkdir(parents=True)
        (here / "a.txt").write_text("12345")
        inputs = {"here": here, "there": "file:///data/rides/"}
        call: dict[str, Any] = {"name": "conformance", "command": [*python, "-c", _READ], "inputs": inputs}
        made = ops.plan("process", client=client, **call)
        told = [note for note in made.plan.notes if note.startswith("inputs.")]
        assert [path for path, _ in made.uploads] in ([], [here])
        assert told == [f"inputs.here: {path} goes through the storage: 5 bytes in 1 files" for path, _ in made.uploads]
        job = client.process(**call)
        job.wait(patience)
        assert list(job.logs()) == ["here a.txt ['12345']", "there feb.txt ['3']", "there jan.txt ['1', '2']"]

    def test_a_name_that_is_not_there_fails_before_the_command(
        self, client: lyftlearn.Client, rides: Path, python: Sequence[str], patience: str
    ) -> None:
        """As the caller named it: by the plan where this machine can be looked at, else by the job."""
        del rides
        inputs = {"trips": "file:///data/no/such/"}
        command = [*python, "-c", "print('ran')"]
        if ops.plan("process", client=client, name="conformance", command=command, inputs=inputs).plan.faults:
            with pytest.raises(lyftlearn.InvalidJob, match=r"inputs\.trips: .*/no/such"):
                client.process("conformance", command=command, inputs=inputs)
            return
        job = client.process("conformance", command=command, inputs=inputs)
        state = job.wait(patience, check=False)
        assert (state.status, state.reason) == (lyftlearn.JobStatus.FAILED, lyftlearn.FailureReason.CONFIGURATION)
        assert "inputs.trips: nothing is at " in state.message
        assert "/no/such" in state.message
        assert "ran" not in list(job.logs())

    def test_a_key_compares_the_name_of_what_is_mounted(
        self, client: lyftlearn.Client, rides: Path, python: Sequence[str], patience: str
    ) -> None:
        """A file system of terabytes is not read to compare keys."""
        command = [*python, "-c", "print('ran')"]

        def run(rides: str) -> lyftlearn.Job:
            return client.process("conformance", command=command, inputs={"rides": rides}, key="nightly")

        job = run("file:///data/rides/")
        job.wait(patience)
        (rides / "mar.txt").write_text("4")
        assert run("/data/rides") == job
        with pytest.raises(lyftlearn.Conflict):
            run("file:///data/trips/")


def _passes_by_name(client: lyftlearn.Client, function: str, call: Mapping[str, Any]) -> None:
    """Check that nothing of a call would be uploaded."""
    made = ops.plan(function, client=client, **call)
    assert (made.plan.faults, made.uploads) == ((), ())
    assert not [note for note in made.plan.notes if "goes through the storage" in note]
