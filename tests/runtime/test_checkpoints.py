"""Checkpoints outlive the machine: at every moment the storage holds a whole one."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import checkpoints, storage
from lyftlearn.runtime.checkpoint_place import NOTES
from lyftlearn.runtime.checkpoints import Checkpoints
from lyftlearn.runtime.faults import RuntimeFailure


def make(tmp_path: Path, **options: Any) -> tuple[Path, Path, Checkpoints]:
    directory, kept = tmp_path / "checkpoints", tmp_path / "kept"
    directory.mkdir(exist_ok=True)
    return directory, kept, Checkpoints(str(directory), kept.as_uri(), **options)


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


@pytest.mark.contract("C-CHECK-2")
def test_the_new_one_is_there_before_the_old_one_goes(tmp_path: Path) -> None:
    """A program keeps its last one only: deleted at once, the storage would hold none until the next look."""
    directory, kept, copies = make(tmp_path)
    (directory / "1.ckpt").write_text("1")
    copies.sync()
    copies.sync()
    assert names(kept) == {"1.ckpt"}
    for number in range(2, 6):
        (directory / f"{number}.ckpt").write_text(str(number))
        (directory / f"{number - 1}.ckpt").unlink()
        copies.sync()
        assert names(kept) == {f"{number - 1}.ckpt"}
        copies.sync()
        assert names(kept) == {f"{number}.ckpt"}


def test_one_that_is_rotated_away_before_it_was_copied(tmp_path: Path) -> None:
    """Programs may write faster than copies are made: the last whole copy stays until there is another."""
    directory, kept, copies = make(tmp_path)
    (directory / "1.ckpt").write_text("1")
    copies.sync()
    copies.sync()
    for number in range(2, 8):
        (directory / f"{number}.ckpt").write_text(str(number))
        (directory / f"{number - 1}.ckpt").unlink()
        copies.sync()
        assert names(kept) == {"1.ckpt"}
    copies.sync()
    assert names(kept) == {"7.ckpt"}


def test_a_log_that_never_stands_still_keeps_nothing_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training writes events all the time; old checkpoints would fill the storage otherwise."""
    monkeypatch.setattr(checkpoints, "RESTLESS", 3)
    directory, kept, copies = make(tmp_path)
    for number in range(12):
        (directory / f"{number // 4}.ckpt").write_text("x")
        with (directory / "events").open("a") as events:
            events.write("e")
        if number % 4 == 0 and number:
            (directory / f"{number // 4 - 1}.ckpt").unlink()
        copies.sync()
    assert "0.ckpt" not in names(kept)


def test_a_file_that_is_written_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the old and half of the new is a checkpoint that no program can read."""
    directory, kept, copies = make(tmp_path)
    (directory / "last.ckpt").write_text("old" * 1000)
    copies.sync()
    copies.sync()
    (directory / "last.ckpt").write_text("new" * 1000)
    copies.sync()
    copy_into = storage.copy_into

    def overwritten(path: str, sink: storage.Sink) -> None:
        copy_into(path, sink)
        Path(path).write_text("odd" * 1000)

    monkeypatch.setattr(checkpoints, "copy_into", overwritten)
    copies.sync()
    assert (kept / "last.ckpt").read_text() == "old" * 1000
    assert names(kept) == {"last.ckpt"}
    monkeypatch.undo()
    copies.finish()
    assert (kept / "last.ckpt").read_text() == "odd" * 1000


def test_files_are_copied_in_the_order_of_their_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`latest` is written after what it names; a copy that ends between the two must not name what is not there."""
    directory, _, copies = make(tmp_path)
    order: list[str] = []
    copy_into = storage.copy_into

    def noted(path: str, sink: storage.Sink) -> None:
        order.append(Path(path).name)
        copy_into(path, sink)

    monkeypatch.setattr(checkpoints, "copy_into", noted)
    for index, name in enumerate(["z-weights", "m-optimizer", "a-latest"]):
        (directory / name).write_text(name)
        os.utime(directory / name, (index + 1, index + 1))
    copies.finish()
    assert order == ["z-weights", "m-optimizer", "a-latest"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that nobody else may read")
def test_files_that_cannot_be_read_hold_up_no_other(containers: Any) -> None:
    """Neither a file of somebody else's, which is named, nor a whole directory; and the job ends as it did."""
    script = "cd $LYFTLEARN_CHECKPOINTS_DIR; ls hidden; for n in 1 2 3; do echo $n > z$n; done; chmod 0 z1"
    container = containers.make("kubernetes", ["/bin/sh", "-c", script])
    kept = container.directory / "kept/checkpoints"
    kept.mkdir()
    kept.chmod(0o777)
    container.document["checkpoints"] = {"uri": kept.as_uri()}
    directory = container.root / "checkpoints"
    (directory / "hidden").mkdir(parents=True)
    for path in (directory / "secret", directory / "hidden/w"):
        path.write_text("w")
        path.chmod(0o600)
    (directory / "hidden").chmod(0o700)
    directory.chmod(0o777)
    result = container.run()
    assert result.exit_code == 0, result.output
    assert names(kept) == {"z1", "z2", "z3"}
    assert b"checkpoints were not copied: checkpoints: secret could not be copied" in result.output


def test_one_that_cannot_be_copied_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the oldest, so all others come after it. It is named once, and deleted files do not stay for its sake."""
    monkeypatch.setattr(checkpoints, "RESTLESS", 3)
    directory, kept, copies = make(tmp_path)
    kept.mkdir()
    (kept / "bad").mkdir()
    (directory / "bad").write_text("a directory is in its way")
    os.utime(directory / "bad", (1, 1))
    for number in range(8):
        (directory / f"{number}.ckpt").write_text(str(number))
        (directory / f"{number - 1}.ckpt").unlink(missing_ok=True)
        copies.sync()
        copies.sync()
    assert names(kept) == {"7.ckpt"}
    assert capsys.readouterr().err.count("checkpoints are not copied yet: bad: ") == 1
    (directory / "8.ckpt").write_text("8")
    with pytest.raises(RuntimeFailure, match="bad could not be copied"):
        copies.finish()
    assert names(kept) == {"7.ckpt", "8.ckpt"}


def test_a_name_that_the_storage_does_not_take(tmp_path: Path) -> None:
    """S3 takes 1024 bytes for all of a path, and this file system more."""
    directory, kept, copies = make(tmp_path)
    deep = directory.joinpath(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "w").write_text("w")
    os.utime(deep / "w", (1, 1))
    (directory / "c").write_text("c")
    kept.mkdir()
    (kept / ("d" * 200)).write_text("in the way")
    with pytest.raises(RuntimeFailure, match="could not be copied"):
        copies.finish()
    assert (kept / "c").read_text() == "c"


def test_a_storage_that_is_away_is_not_asked_for_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question takes as long as the patience of its client; nobody has that a thousand times at a job's end."""
    monkeypatch.setattr(checkpoints, "MOST_LOST", 0.0)
    directory, kept, copies = make(tmp_path)
    kept.write_text("in the way")
    for number in range(9):
        (directory / str(number)).write_text("c")
    asked: list[str] = []
    store_for = storage.store_for

    def noted(uri: str) -> storage.Store:
        asked.append(uri)
        return store_for(uri)

    monkeypatch.setattr(checkpoints, "store_for", noted)
    with pytest.raises(RuntimeFailure, match=r"0, 1, 2, 3, 4 and 4 more could not be copied"):
        copies.finish()
    assert not asked
    kept.unlink()
    monkeypatch.undo()
    copies.finish()
    assert len(names(kept)) == 9


def test_a_directory_that_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """And the other way round: where the storage is a directory, one is in the other's way."""
    directory, kept, copies = make(tmp_path)
    (directory / "a").write_text("file")
    (directory / "b").mkdir()
    (directory / "b/w").write_text("w")
    copies.sync()
    copies.sync()
    (directory / "a").unlink()
    (directory / "a").mkdir()
    (directory / "a/w").write_text("w")
    copies.finish()
    assert names(kept) == {"a/w", "b/w"}


@pytest.mark.parametrize(
    "own",
    [
        [NOTES],
        [f"{NOTES}~"],
        [NOTES, f"{NOTES}~", f"{NOTES}~~"],
        [f"{NOTES}/a", f"{NOTES}/b~"],
        [f"d/{NOTES}", f"{NOTES}.bak", f"{NOTES}~x"],
    ],
    ids=str,
)
def test_the_command_s_own_files_are_not_taken_for_the_runtime_s(tmp_path: Path, own: list[str]) -> None:
    """A file that has the name of the runtime's notes was lost, and so were the links that these hold."""
    directory, kept, copies = make(tmp_path)
    for name in own:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(name)
    (directory / "ckpt").mkdir()
    (directory / "ckpt/w").write_text("w")
    (directory / "latest").symlink_to("ckpt")
    copies.sync()
    copies.sync()
    for _ in range(2):
        copies.finish()
        directory = tmp_path / f"again-{os.urandom(2).hex()}"
        directory.mkdir()
        copies = Checkpoints(str(directory), kept.as_uri())
        copies.restore()
        assert names(directory) == {*own, "ckpt/w"}
        assert all((directory / name).read_text() == name for name in own)
        assert str((directory / "latest").readlink()) == "ckpt"
    (directory / own[0]).unlink()
    copies.finish()
    assert len(names(kept)) == len(own) + 1


@pytest.mark.contract("C-CHECK-3")
def test_links_to_directories_come_back(tmp_path: Path) -> None:
    """`latest -> ckpt-500` is how a program finds where to go on."""
    directory, kept, copies = make(tmp_path)
    (directory / "ckpt-500").mkdir()
    (directory / "ckpt-500/w").write_text("w")
    (directory / "latest").symlink_to(directory / "ckpt-500")
    (directory / "last.ckpt").symlink_to("ckpt-500/w")
    copies.finish()
    again = Checkpoints(str(tmp_path / "again"), kept.as_uri())
    (tmp_path / "again").mkdir()
    again.restore()
    assert str((tmp_path / "again/latest").readlink()) == "ckpt-500"
    assert (tmp_path / "again/last.ckpt").read_text() == (tmp_path / "again/latest/w").read_text() == "w"
    assert NOTES not in names(tmp_path / "again")


@pytest.mark.parametrize("brings_back", ["nothing", "a copy"])
def test_links_that_a_substrate_loses_come_back(containers: Any, brings_back: str) -> None:
    """SageMaker copies checkpoints, and says nothing of links: it may leave them out, or bring what they show."""
    script = "cd $LYFTLEARN_CHECKPOINTS_DIR; mkdir a b; echo a > a/w; echo b > b/w; ln -s $PWD/a latest; ln -s /etc out"
    first = containers.make("sagemaker", ["/bin/sh", "-ec", script])
    first.document["checkpoints"] = {"mode": "mounted"}
    result = first.run()
    assert result.exit_code == 0, result.output
    again = "cd $LYFTLEARN_CHECKPOINTS_DIR; readlink latest; cat latest/w; ls -A; rm latest; ln -s b latest"
    second = containers.make("sagemaker", ["/bin/sh", "-ec", again])
    second.document["checkpoints"] = {"mode": "mounted"}
    shutil.copytree(first.ml / "checkpoints", second.ml / "checkpoints", symlinks=True, dirs_exist_ok=True)
    kept = second.ml / "checkpoints/files"
    for name in ("latest", "out"):
        (kept / name).unlink()
    if brings_back == "a copy":
        shutil.copytree(kept / "a", kept / "latest")
    result = second.run()
    assert result.output.decode().splitlines() == ["a", "a", "a", "b", "latest"]
    assert json.loads((second.ml / "checkpoints/links").read_text()) == {"links": {"latest": "b"}}


def test_links_are_noted_while_the_command_runs(containers: Any) -> None:
    """A machine that goes asks nobody first."""
    noted = "/opt/ml/checkpoints/links"
    script = f"cd $LYFTLEARN_CHECKPOINTS_DIR; mkdir a; ln -s a latest; until grep -q latest {noted}; do sleep 0.1; done"
    container = containers.make("sagemaker", ["/bin/sh", "-c", script], timeout=20, grace=1)
    container.document["checkpoints"] = {"mode": "mounted", "interval": 0.1}
    assert container.run().exit_code == 0


@pytest.mark.parametrize(
    "notes",
    [
        "",
        "[]",
        "{}",
        '{"links": {"../up": "x"}}',
        '{"links": {"l": "../.."}}',
        '{"links": {"l": "/etc"}}',
        '{"links": 1}',
    ],
)
def test_what_the_storage_holds_is_not_trusted(tmp_path: Path, notes: str) -> None:
    """Whoever can write there must not reach beyond the directory, nor stop the job."""
    directory, kept, copies = make(tmp_path)
    kept.mkdir()
    (kept / NOTES).write_text(notes)
    (kept / "w").write_text("w")
    copies.restore()
    assert {path.name for path in directory.iterdir()} == {"w"}
    assert copies.first_start is None


@pytest.mark.contract("C-TIME-2")
def test_the_timeout_goes_on_after_a_lost_machine(containers: Any) -> None:
    """A job that is moved from machine to machine would otherwise never reach its time."""
    container = containers.make("local", ["sleep", "15"], timeout=100, grace=1)
    kept = container.directory / "kept/checkpoints"
    kept.mkdir()
    kept.chmod(0o777)
    (kept / NOTES).write_text(json.dumps({"links": {}, "started_at": time.time() - 99}))
    container.document["checkpoints"] = {"uri": kept.as_uri()}
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (124, "timeout")


@pytest.mark.parametrize("timed", [False, True])
def test_the_first_start_is_noted_where_there_is_a_timeout(tmp_path: Path, timed: bool) -> None:
    """Only then does anybody need it."""
    directory, kept, copies = make(tmp_path, interval=0.01, timed=timed)
    (directory / "c").write_text("c")
    copies.start()
    while not (kept / ("c" if not timed else NOTES)).exists():
        threading.Event().wait(0.01)
    copies.finish()
    assert (kept / NOTES).exists() == timed


@pytest.mark.contract("C-CHECK-1")
@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("exit 3", (3, "user-error", 3)),
        ("chmod 000 $LYFTLEARN_CHECKPOINTS_DIR/c; exit 3", (3, "user-error", 3)),
        ("exit 0", (0, None, 0)),
    ],
)
def test_the_last_copy_never_changes_how_the_command_ended(
    containers: Any, script: str, ended: tuple[int, str | None, int]
) -> None:
    """A storage that is away, or files that cannot be read: 3 stays 3, 0 stays 0, and the log says the rest."""
    command = ["sh", "-c", f"echo c > $LYFTLEARN_CHECKPOINTS_DIR/c; {script}"]
    container = containers.make("kubernetes", command)
    container.document["checkpoints"] = {"uri": "file:///proc/1/no/such/place"}
    result = container.run()
    assert (result.exit_code, result.facts["reason"], result.facts["exit_code"]) == ended
    assert b"checkpoints were not copied" in result.output


def test_a_thread_that_meets_an_error_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The storage may be away for a while; copies go on when it is back."""
    directory, kept, copies = make(tmp_path, interval=0.02)
    kept.write_text("in the way")
    (directory / "c").write_text("c")
    copies.start()
    while "not copied yet: c: " not in capsys.readouterr().err:
        threading.Event().wait(0.02)
    kept.unlink()
    while not (kept / "c").exists():
        threading.Event().wait(0.02)
    copies.finish()
