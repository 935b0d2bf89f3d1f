"""The writer of flag files: whole or not at all, over what was read and nothing else."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest

from lyftlearn._migration import flag_writer
from lyftlearn.errors import BackendUnavailable, InvalidJob

FLAGS: dict[str, Any] = {"flags": {"lyftlearn-migration": {"state": "ENABLED", "variants": {"off": "off"}}}}


def test_a_file_is_replaced_with_its_permissions(tmp_path: Path) -> None:
    """A flag that a fleet may read is no secret of whoever raised it; a link to it goes on leading there."""
    path, link = tmp_path / "real.json", tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {}}))
    path.chmod(0o644)
    link.symlink_to(path)
    written = flag_writer.replace(flag_writer.read(link), FLAGS)
    assert written is not None
    assert flag_writer.read(link) == written
    assert json.loads(path.read_text()) == FLAGS
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == [".real.json.lock", "flags.json", "real.json"]


def test_what_a_person_saved_meanwhile_stays(tmp_path: Path) -> None:
    """Whoever read the file before that decides again."""
    path = tmp_path / "flags.json"
    fresh = flag_writer.read(path)
    path.write_text('{"flags": {"by": {}}}')
    assert flag_writer.replace(fresh, FLAGS) is None
    assert path.read_text() == '{"flags": {"by": {}}}'
    path.unlink()
    assert flag_writer.replace(fresh, FLAGS) is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"flags": []}', '{"flag": {}}', "\xff", "[" * 100_000])
def test_a_broken_file_is_left_alone(tmp_path: Path, text: str) -> None:
    """It says what is wrong, as nobody knows what it was to be."""
    path = tmp_path / "flags.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidJob, match="flag file"):
        flag_writer.read(path)


def test_links_in_a_circle_are_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """They were a traceback, also of `status`, which needs no flag file."""
    path = tmp_path / "flags.json"
    path.symlink_to(path.name)
    with pytest.raises(BackendUnavailable, match="cannot be read: Too many levels"):
        flag_writer.read(path)


def test_a_directory_that_nobody_may_write_in_is_named(tmp_path: Path) -> None:
    """Else the history is blamed, which the writer stands in."""
    path = tmp_path / "flags.json"
    path.with_name(".flags.json.lock").mkdir()
    with pytest.raises(BackendUnavailable, match=r"the flag file .*flags\.json cannot be written: Is a directory"):
        flag_writer.replace(flag_writer.read(path), FLAGS)


def test_half_a_character_stays_what_it_is(tmp_path: Path) -> None:
    """JSON can write one, and a description that somebody cut may have it."""
    path = tmp_path / "flags.json"
    path.write_text('{"flags": {"x": "\\ud83d\u00e4"}}')
    read = flag_writer.read(path)
    assert flag_writer.replace(read, read.document)
    assert flag_writer.read(path).document == read.document == {"flags": {"x": "\ud83d\u00e4"}}


def _count(path: Path) -> None:
    for _ in range(25):
        while True:
            file = flag_writer.read(path)
            count = file.document.get("count", 0)
            if flag_writer.replace(file, {"flags": {}, "count": count + 1}):
                break


def test_no_change_of_several_writers_is_lost(tmp_path: Path) -> None:
    """Of those that read the same content, one writes."""
    path = tmp_path / "flags.json"
    writers = [multiprocessing.get_context("fork").Process(target=_count, args=(path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert flag_writer.read(path).document["count"] == 75
