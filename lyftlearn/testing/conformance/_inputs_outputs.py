"""Inputs and outputs: what a job reads, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyftlearn.backend import Capability
from lyftlearn.testing.conformance import _archives
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import FailureReason, JobKind, JobStatus

_TREE = """
import os
top = os.environ["LYFTLEARN_INPUTS_DIR"]
for folder, folders, files in os.walk(top, followlinks=True):
    folders.sort()
    for name in sorted(files):
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as file:
            print(os.path.relpath(path, top), file.read())
"""
_WRITE = """
import os, pathlib
model = pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"])
(model / "deep" / "er").mkdir(parents=True)
(model / "weights.bin").write_bytes(bytes(range(256)))
(model / "deep" / "er" / "caf\\u00e9 1.txt").write_text("nested")
(model / "empty").write_bytes(b"")
output = pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "output"
(output / "metrics.json").write_text('{"rmse": 1.5}')
"""
MODEL = {"weights.bin": bytes(range(256)), "deep/er/café 1.txt": b"nested", "empty": b""}


class InputsConformance(Fixtures):
    """Each input is a directory, there before the command starts."""

    def test_a_directory(self, harness: Harness) -> None:
        """What is under the URI arrives under the channel's name, and nothing beside it."""
        uri = harness.put({"train/a.csv": b"1", "train/deep/b.csv": b"2", "train-old/c.csv": b"3"})
        spec = harness.spec(_TREE, inputs={"flights": f"{uri}/train"})
        assert harness.output_lines(spec) == ["flights/a.csv 1", "flights/deep/b.csv 2"]

    def test_a_single_file_keeps_its_name(self, harness: Harness) -> None:
        """Code that opens `inputs/airports/airports.csv` must find it there."""
        uri = harness.put({"airports.csv": b"EWR", "airports.csv.bak": b"old"})
        spec = harness.spec(_TREE, inputs={"airports": f"{uri}/airports.csv"})
        assert harness.output_lines(spec) == ["airports/airports.csv EWR"]

    def test_several_channels(self, harness: Harness) -> None:
        """Two channels may name the same place."""
        uri = harness.put({"a.csv": b"1"})
        lines = harness.output_lines(harness.spec(_TREE, inputs={"one": uri, "two": uri}))
        assert lines == ["one/a.csv 1", "two/a.csv 1"]

    def test_nothing_there_fails_before_the_command(self, harness: Harness) -> None:
        """A model that was trained on no data looks like any other."""
        uri = harness.put({"train/a.csv": b"1"})
        spec = harness.spec("print('ran')", inputs={"flights": f"{uri}/trian"}, retries=2)
        state = harness.run(spec)
        assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
        assert "trian" in state.message or "flights" in state.message
        assert "ran" not in harness.lines(spec.id)

    def test_a_directory_of_this_machine(self, harness: Harness, tmp_path: Path) -> None:
        """The first job of a newcomer reads files that lie beside the script."""
        harness.expect_seen(tmp_path)
        folder = tmp_path / "odd name é"
        folder.mkdir()
        (folder / "a.csv").write_text("1")
        assert harness.output_lines(harness.spec(_TREE, inputs={"here": folder.as_uri()})) == ["here/a.csv 1"]
        assert [path.name for path in folder.iterdir()] == ["a.csv"], "an input must not be changed"


class OutputsConformance(Fixtures):
    """Where a job's results are, with the same members on every substrate."""

    def test_they_are_known_from_the_start(self, harness: Harness) -> None:
        """A pipeline wires the next job to a URI before this one has ended."""
        spec = harness.spec(_WRITE)
        harness.submit(spec)
        before = dict(harness.backend.outputs(spec.id))
        assert set(before) == {"model", "output"}
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert dict(harness.backend.outputs(spec.id)) == before

    def test_a_train_job_leaves_model_and_output(self, harness: Harness) -> None:
        """Whoever loads `model.tar.gz` finds it in one place, with the members that the command wrote."""
        spec = harness.succeed(harness.spec(_WRITE))
        assert _archives.unpack(_archives.read(f"{spec.output_uri}/model.tar.gz")) == MODEL
        output = _archives.unpack(_archives.read(f"{spec.output_uri}/output.tar.gz"))
        assert output == {"output/metrics.json": b'{"rmse": 1.5}'}

    def test_outputs_can_be_fetched(self, harness: Harness, tmp_path: Path) -> None:
        """`download` knows a URI and nothing of the substrate that filled it."""
        spec = harness.succeed(harness.spec(_WRITE))
        assert harness.fetch(spec.id, "model", tmp_path) == MODEL
        assert harness.fetch(spec.id, "output", tmp_path) == {"metrics.json": b'{"rmse": 1.5}'}

    def test_several_outputs_of_a_process_job(self, harness: Harness, tmp_path: Path) -> None:
        """Each has its own directory and its own URI; one that was given goes there and nowhere else."""
        harness.need(Capability.PROCESS)
        own = f"{harness.storage_url}/elsewhere-{harness.spec().id}"
        code = """
            import os, pathlib
            for folder in pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]).iterdir():
                (folder / "part.csv").write_text(folder.name)
        """
        spec = harness.spec(code, kind=JobKind.PROCESS, outputs={"clean": None, "report": None, "export": own})
        harness.succeed(spec)
        outputs = harness.backend.outputs(spec.id)
        assert set(outputs) == {"clean", "report", "export"}
        assert outputs["export"].rstrip("/") == own
        for name in outputs:
            assert harness.fetch(spec.id, name, tmp_path) == {"part.csv": name.encode()}

    def test_a_predict_job_reads_a_trained_model(self, harness: Harness, tmp_path: Path) -> None:
        """The artifact of one job is the model directory of the next."""
        harness.need(Capability.PREDICT)
        trained = harness.succeed(harness.spec(_WRITE))
        code = """
            import os, pathlib
            model = pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"])
            text = (model / "deep" / "er" / "caf\\u00e9 1.txt").read_text()
            (pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "predictions" / "all.csv").write_text(text)
        """
        uri = harness.put({"a.csv": b"1"})
        artifact = harness.backend.outputs(trained.id)["model"]
        spec = harness.spec(code, kind=JobKind.PREDICT, artifact=artifact, inputs={"flights": uri})
        harness.succeed(spec)
        assert harness.fetch(spec.id, "predictions", tmp_path) == {"all.csv": b"nested"}

    def test_a_failed_job_leaves_no_model(self, harness: Harness) -> None:
        """Half a model must not be found where a whole one is looked for."""
        spec = harness.spec(f"{_WRITE}\nraise SystemExit(1)")
        assert harness.run(spec).status is JobStatus.FAILED
        with pytest.raises(FileNotFoundError):
            _archives.read(f"{spec.output_uri}/model.tar.gz")

    def test_a_job_that_writes_nothing_succeeds(self, harness: Harness, tmp_path: Path) -> None:
        """Many jobs are run for what they do elsewhere."""
        spec = harness.succeed(harness.spec())
        assert harness.fetch(spec.id, "model", tmp_path) == {}
