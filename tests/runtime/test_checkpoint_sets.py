"""Files that a program writes together come back together, whenever the machine goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import checkpoints, s3, storage
from lyftlearn.runtime.checkpoint_place import NOTES
from lyftlearn.runtime.checkpoints import Checkpoints
from lyftlearn.runtime.faults import PLATFORM, RuntimeFailure

WRITES = [(storage.FileSink, "commit"), (storage.FileStore, "remove"), (storage.FileStore, "move")]


class Death(BaseException):
    """The machine is gone."""


class Machine:
    """A directory whose checkpoints are kept at `uri`, until it dies."""

    def __init__(self, directory: Path, uri: str) -> None:
        directory.mkdir()
        self.directory = directory
        self.copies = Checkpoints(str(directory), uri)
        self.copies.restore()

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.copies.sync()


def die(*_: Any, **__: Any) -> None:
    raise Death


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    uri = (tmp_path / "kept").as_uri()
    return lambda: Machine(tmp_path / f"machine-{os.urandom(4).hex()}", uri)


def content(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def save(directory: Path, name: str, version: int) -> None:
    """As libraries do it: aside, then by one rename; what had the name before goes."""
    aside = directory / f".{name}.tmp"
    aside.mkdir()
    for part in ("optimizer", "weights", "deep/rng"):
        (aside / part).parent.mkdir(exist_ok=True)
        (aside / part).write_text(str(version))
    shutil.rmtree(directory / name, ignore_errors=True)
    aside.rename(directory / name)


def whole(name: str, version: int) -> dict[str, str]:
    return {f"{name}/{part}": str(version) for part in ("optimizer", "weights", "deep/rng")}


def die_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> list[int]:
    """The machine dies at the write with this number, before it or after; return a list that holds the count."""
    count = [0]

    def wrapped(real: Callable[..., None]) -> Callable[..., None]:
        def write(*arguments: Any, **options: Any) -> None:
            count[0] += 1
            if count[0] == number and not after:
                raise Death
            real(*arguments, **options)
            if count[0] == number:
                raise Death

        return write

    for owner, name in WRITES:
        monkeypatch.setattr(owner, name, wrapped(getattr(owner, name)))
    return count


@pytest.mark.contract("C-CHECK-4")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("names", [("latest", "latest"), ("step-1", "step-2")], ids=["replaced", "new"])
def test_a_directory_is_never_half_of_the_old_and_half_of_the_new(
    machine: Callable[..., Machine], names: tuple[str, str], after: bool
) -> None:
    """Weights of one step and an optimizer of another load without an error, and train something else."""
    number = died = 0
    found: dict[str, str] = {}
    while died == number:
        number += 1
        first = machine()
        shutil.rmtree(first.directory)
        first.directory.mkdir()
        first.look(3)
        save(first.directory, names[0], 1)
        first.look(3)
        save(first.directory, names[1], 2)
        if names[0] != names[1]:
            shutil.rmtree(first.directory / names[0])
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, number, after=after)
            try:
                first.look(3)
            except Death:
                died += 1
        found = content(machine().directory)
        assert found in (whole(names[0], 1), whole(names[1], 2), {**whole(names[0], 1), **whole(names[1], 2)})
        second = machine()
        save(second.directory, names[1], 3)
        second.look(3)
        second.copies.finish()
        found = content(machine().directory)
        assert {name: text for name, text in found.items() if text == "3"} == whole(names[1], 3)
    assert number > 4
    assert found == whole(names[1], 3)


@pytest.mark.contract("C-CHECK-4")
def test_a_directory_that_is_still_written_is_not_shown(machine: Callable[..., Machine]) -> None:
    """A program takes the one with the largest number, whatever is in it. One that grows for ever is no checkpoint."""
    first = machine()
    save(first.directory, "step-1", 1)
    first.look(2)
    (first.directory / "step-2").mkdir()
    (first.directory / "step-2/weights").write_text("2")
    for count in range(checkpoints.PATIENT):
        (first.directory / "step-2/optimizer").write_text("2" * count)
        first.look()
        assert content(machine().directory) == whole("step-1", 1)
    (first.directory / "step-2/optimizer").write_text("2")
    first.look(2)
    assert content(machine().directory) == {**whole("step-1", 1), "step-2/weights": "2", "step-2/optimizer": "2"}
    (first.directory / "run").mkdir()
    (first.directory / "run/last.ckpt").write_text("3")
    for _ in range(checkpoints.PATIENT + 1):
        with (first.directory / "run/events").open("a") as events:
            events.write("e")
        first.look()
    assert (machine().directory / "run/last.ckpt").read_text() == "3"


@pytest.mark.contract("C-CHECK-4")
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_directory_of_which_one_file_is_refused(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    """It holds up no other, and the checkpoint before it stays, also after the command's end."""
    first = machine()
    save(first.directory, "step-1", 1)
    first.look(2)
    save(first.directory, "step-2", 2)
    (first.directory / "log").write_text("2")
    shutil.rmtree(first.directory / "step-1")
    copy_into = storage.copy_into

    def refuse(path: str, sink: storage.Sink) -> None:
        if path.endswith("step-2/weights"):
            raise RuntimeFailure(PLATFORM, "SlowDown")
        copy_into(path, sink)

    monkeypatch.setattr(checkpoints, "copy_into", refuse)
    first.look(3)
    if at_the_end:
        with pytest.raises(RuntimeFailure, match="step-2/weights could not be copied"):
            first.copies.finish()
    assert content(machine().directory) == {**whole("step-1", 1), "log": "2"}
    monkeypatch.undo()
    first.copies.finish()
    assert content(machine().directory) == {**whole("step-2", 2), "log": "2"}


def test_a_link_to_a_directory_that_is_not_shown(machine: Callable[..., Machine]) -> None:
    """`latest` leads to what is there, and to the newest of that."""
    first = machine()
    save(first.directory, "step-1", 1)
    (first.directory / "latest").symlink_to("step-1")
    first.look(2)
    save(first.directory, "step-2", 2)
    (first.directory / "aside").symlink_to("step-2")
    (first.directory / "aside").rename(first.directory / "latest")
    for shown in ("1", "2"):
        found = machine().directory
        assert (found / "latest/weights").read_text() == shown
        with (first.directory / "step-2/deep/rng").open("a"):
            first.look(2)


@pytest.mark.contract("C-CHECK-4")
@pytest.mark.parametrize("damage", ["cut", "no JSON", "other types", "gone", "what is not there"])
def test_notes_that_are_damaged_stop_no_job(tmp_path: Path, machine: Callable[..., Machine], damage: str) -> None:
    """They are one object among many, which a person or a rule of a bucket may remove or overwrite."""
    first = machine()
    save(first.directory, "step-1", 1)
    (first.directory / "latest").symlink_to("step-1")
    first.look(2)
    notes = tmp_path / "kept" / NOTES
    text = notes.read_text()
    lists = '{"links": {"l": "", "a\\u0000": "x", "\\ud800": "step-1"}, "hidden": [1, {}, "x/y"], "moved": ["z", null]}'
    damaged = {"cut": text[:20], "no JSON": "\0\1", "other types": '{"links": {}, "hidden": 7, "moved": "step-1"}'}
    notes.write_text(damaged.get(damage, lists))
    if damage == "gone":
        notes.unlink()
    second = machine()
    assert content(second.directory) == whole("step-1", 1)
    save(second.directory, "step-1", 2)
    second.look(3)
    assert content(machine().directory) == whole("step-1", 2)


class Nothing:
    """A sink that gets nothing."""

    write = commit = abort = staticmethod(die)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(machine: Callable[..., Machine]) -> None:
    """Nobody writes to it, so a copy of it would never end, and with it the job."""
    first = machine()
    os.mkfifo(first.directory / "c")
    with pytest.raises(FileNotFoundError):
        storage.copy_into(str(first.directory / "c"), Nothing())
    first.copies.finish()


def test_a_file_in_place_of_a_directory(machine: Callable[..., Machine]) -> None:
    """Where the storage has directories, the empty one was in the file's way, and the file was lost."""
    first = machine()
    save(first.directory, "last", 1)
    first.look(2)
    shutil.rmtree(first.directory / "last")
    (first.directory / "last").write_text("2")
    first.copies.finish()
    assert content(machine().directory) == {"last": "2"}


@pytest.mark.parametrize("file_first", [True, False])
def test_a_file_and_a_directory_of_one_name_in_a_bucket(bucket: Any, tmp_path: Path, file_first: bool) -> None:
    """A bucket takes both, and no directory does: every later container of the job failed. The file is whole."""
    uri = f"s3://{bucket.name}/ck"
    first = Machine(tmp_path / "first", uri)
    path = first.directory / "a"
    if file_first:
        path.write_text("file")
        first.look(2)
        path.unlink()
        save(first.directory, "a", 2)
    else:
        save(first.directory, "a", 2)
        first.look(2)
        shutil.rmtree(path)
        path.write_text("file")
    first.look()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3.S3Store, "remove", die)
        with pytest.raises(Death):
            first.look(3)
    second = Machine(tmp_path / "second", uri)
    assert content(second.directory) == {"a": "file"}
    (second.directory / "a").unlink()
    save(second.directory, "a", 3)
    second.look(3)
    second.copies.finish()
    assert content(Machine(tmp_path / "third", uri).directory) == whole("a", 3)


def test_names_that_nobody_gave_are_left_alone(bucket: Any, tmp_path: Path) -> None:
    """Whoever can write there must not stop the job."""
    for key in ("ck/a//b", "ck/../up", "ck/./c", "ck/" + "n" * 300, "ck/w", "ck//w"):
        bucket.put_object(Key=key, Body=b"x")
    machine = Machine(tmp_path / "first", f"s3://{bucket.name}/ck")
    machine.copies.finish()
    assert content(machine.directory) == {"w": "x"}
    assert len(list(bucket.objects.all())) == 6


def test_sets_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    """What replaces others lies aside, and is moved within the storage; nothing of it stays behind."""
    uri = f"s3://{bucket.name}/ck"
    first = Machine(tmp_path / "first", uri)
    for version in (1, 2):
        save(first.directory, "latest", version)
        first.look(2)
        found = {one.key.removeprefix("ck/"): one.get()["Body"].read().decode() for one in bucket.objects.all()}
        assert found == whole("latest", version)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3.S3Store, "move", die)
        save(first.directory, "latest", 3)
        with pytest.raises(Death):
            first.look(2)
    second = Machine(tmp_path / "second", uri)
    assert content(second.directory) == whole("latest", 3)
    second.copies.finish()
    assert {one.key for one in bucket.objects.all()} == {f"ck/{name}" for name in whole("latest", 3)}


@pytest.mark.parametrize("scheme", ["s3", "file"])
def test_files_come_back_in_the_order_of_their_writing(bucket: Any, tmp_path: Path, scheme: str) -> None:
    """Many programs go on from the file with the latest time; a download makes times as it comes."""
    uri = f"s3://{bucket.name}/ck" if scheme == "s3" else (tmp_path / "kept").as_uri()
    first = Machine(tmp_path / "first", uri)
    for index, name in enumerate(["c", "a", "b"]):
        (first.directory / name).write_text(name)
        first.look(2)
        if scheme == "file":
            os.utime(tmp_path / "kept" / name, (index, index))
    found = Machine(tmp_path / "second", uri).directory
    times = [(found / name).stat().st_mtime for name in ("c", "a", "b")]
    assert times == sorted(times)
    assert times[0] < (tmp_path / "second").stat().st_mtime - (1 if scheme == "file" else -1)


def test_what_another_container_removes_meanwhile(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that was given up may still run: what it removes stops nobody who restores."""
    first = machine()
    save(first.directory, "step-1", 1)
    save(first.directory, "step-2", 2)
    first.look(2)
    fetch = storage.FileStore.fetch

    def removed(self: storage.FileStore, entry: storage.Entry, path: str) -> None:
        monkeypatch.undo()
        shutil.rmtree(first.directory / "step-1")
        first.look(2)
        fetch(self, entry, path)

    monkeypatch.setattr(storage.FileStore, "fetch", removed)
    assert content(machine().directory) == whole("step-2", 2)


@pytest.mark.contract("C-CHECK-4")
@pytest.mark.parametrize("changes", [1, 3])
def test_what_comes_was_there_at_one_moment(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    """The machine that was given up may still run, and save while another one restores."""
    first = machine()
    save(first.directory, "latest", 1)
    first.look(2)
    fetch, left = storage.FileStore.fetch, list(range(2, changes + 2))

    def changed(self: storage.FileStore, entry: storage.Entry, path: str) -> None:
        if entry.relative.endswith("rng") and left:
            save(first.directory, "latest", left.pop(0))
            first.look(2)
        fetch(self, entry, path)

    monkeypatch.setattr(storage.FileStore, "fetch", changed)
    assert content(machine().directory) == whole("latest", changes + 1)


@pytest.mark.contract("C-CHECK-2")
def test_a_look_between_the_old_one_s_end_and_the_new_one(machine: Callable[..., Machine]) -> None:
    """A program that removes the old one first has none for a moment; the storage has it for two looks."""
    first = machine()
    save(first.directory, "latest", 1)
    first.look(2)
    for version in (2, 3):
        shutil.rmtree(first.directory / "latest")
        first.look()
        save(first.directory, "latest", version)
        first.look()
        assert content(machine().directory) == whole("latest", version - 1)
        first.look()
        assert content(machine().directory) == whole("latest", version)
    shutil.rmtree(first.directory / "latest")
    first.look(2)
    assert content(machine().directory) == {}


def test_a_place_that_changes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a directory's list and a look at its files these may go, and the directories in it, too."""
    for name in ("a/w", "b/w", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("w")
    listdir, stat = os.listdir, os.stat

    def removed(path: str) -> list[str]:
        names = listdir(path)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return names

    monkeypatch.setattr(os, "listdir", removed)
    assert [entry.relative for entry in storage.FileStore().find(str(tmp_path))] == ["a/w", "c"]
    monkeypatch.undo()

    def gone(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        if str(path).endswith("/c"):
            Path(path).unlink()
        return found

    monkeypatch.setattr(os, "stat", gone)
    assert [entry.relative for entry in storage.FileStore().find(str(tmp_path))] == ["a/w"]


@pytest.mark.contract("C-CHECK-4")
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write[1])
@pytest.mark.parametrize("number", range(6))
def test_answers_that_are_lost(machine: Callable[..., Machine], write: tuple[type, str], number: int) -> None:
    """What is written or removed although the answer says no: nothing of it is shown without the rest."""
    first, real = machine(), getattr(*write)
    save(first.directory, "step-1", 1)
    first.look(2)
    for version in (2, 3):
        save(first.directory, f"step-{version}", version)
        shutil.rmtree(first.directory / f"step-{version - 1}")
        left = [number] if version == 2 else [number, number + 1]

        def lost(*arguments: Any, left: list[int] = left, **options: Any) -> None:
            real(*arguments, **options)
            left[:] = [count - 1 for count in left if count]
            if 0 in left:
                raise RuntimeFailure(PLATFORM, "no answer")

        for _ in range(4):
            with pytest.MonkeyPatch.context() as patch, suppress(RuntimeFailure):
                patch.setattr(*write, lost)
                first.look()
            found = content(machine().directory)
            steps = {name.partition("/")[0][5:] for name in found}
            assert found == {name: text for step in steps for name, text in whole(f"step-{step}", int(step)).items()}
            assert steps
    first.look(3)
    assert content(machine().directory) == whole("step-3", 3)
