"""Files that are whole, or are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyftlearn._text.whole_file import write_whole_file


def test_a_file_is_replaced_and_has_its_mode(tmp_path: Path) -> None:
    """Whoever reads it sees the old text or the new one."""
    path = tmp_path / "page.html"
    for text in ("old", "new é"):
        write_whole_file(path, text, mode=0o600)
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("new é", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """A text that cannot be encoded is found out when half of it may be written."""
    path = tmp_path / "page.html"
    write_whole_file(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole_file(path, "new \ud800")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
