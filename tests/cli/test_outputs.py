"""What the command line says of outputs: where they are, that there are none, and how a download is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import CommandLine

LEAVE = "echo {0} > $LYFTLEARN_MODEL_DIR/m"


def train(lyftlearn: CommandLine, command: str) -> str:
    """Run a train job to its end; return its id."""
    ran = lyftlearn("train", "eta", "--wait", "--command", command)
    return ran.id


def test_a_download_is_repeated(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """A cron job fetches today's model where yesterday's is."""
    old, new = (train(lyftlearn, LEAVE.format(day)) for day in ("old", "new"))
    assert [lyftlearn("download", old, tmp_path / "out").code for _ in range(2)] == [0, 0]
    ran = lyftlearn("download", new, tmp_path / "out")
    assert ran.code == 14
    assert "--overwrite" in ran.err
    assert (tmp_path / "out/model/m").read_text() == "old\n"
    assert lyftlearn("download", "--overwrite", new, tmp_path / "out").code == 0
    assert (tmp_path / "out/model/m").read_text() == "new\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "output"}


@pytest.mark.parametrize("what", ["a file", "a link", "a directory"])
def test_overwriting_replaces_whatever_is_there(lyftlearn: CommandLine, tmp_path: Path, what: str) -> None:
    """Only the output's own place is touched; what a link leads to is the place."""
    job_id = train(lyftlearn, LEAVE.format("new"))
    out = tmp_path / "out"
    (out / "elsewhere").mkdir(parents=True)
    (out / "elsewhere/kept").write_text("kept")
    if what == "a file":
        (out / "model").write_text("mine")
    elif what == "a link":
        (out / "target").mkdir()
        (out / "target/old").touch()
        (out / "model").symlink_to("target")
    else:
        (out / "model/deep").mkdir(parents=True)
    assert lyftlearn("download", job_id, out).code == 14
    assert lyftlearn("download", "--overwrite", job_id, out).code == 0
    assert [path.name for path in (out / "model").iterdir()] == ["m"]
    assert (out / "elsewhere/kept").read_text() == "kept"


def test_a_failed_job_says_that_it_has_no_outputs(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """A URI with nothing at it sends people looking."""
    job_id = train(lyftlearn, "exit 3")
    why = f"{job_id} has status failed: only a job that succeeds leaves outputs, so there are none"
    assert why in lyftlearn("status", job_id).out
    assert lyftlearn("status", job_id, "--json").json["outputs"] == {}
    ran = lyftlearn("download", job_id, tmp_path / "out")
    assert (ran.code, why in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.containers
def test_a_model_that_is_not_there_is_said_to_be_empty(lyftlearn: CommandLine) -> None:
    """A file that was saved in the working directory is gone, and nothing else says so."""
    left, not_left = (train(lyftlearn, command) for command in (LEAVE.format("x"), "echo x > model.pkl"))
    empty = "empty: the command left nothing in the directory LYFTLEARN_MODEL_DIR"
    assert empty in lyftlearn("status", not_left).out
    assert empty not in lyftlearn("status", left).out


def test_help_says_where_a_model_goes(lyftlearn: CommandLine) -> None:
    """It is the first thing that a newcomer must know, and nothing else tells it."""
    assert 'os.environ["LYFTLEARN_MODEL_DIR"], "model.joblib"' in lyftlearn("train", "--help").out
