"""How far a packing is, where somebody waits for it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lyftlearn._transfer import progress
from lyftlearn._transfer.packing import pack_source


class Watched(io.StringIO):
    """A standard error that a person sees."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source \x1b[2J"
    path.mkdir()
    (path / "weights").write_bytes(bytes(3 << 20))
    return path


def test_a_packing_that_takes_its_time_shows_how_far_it_is(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute without a word is taken for a hang, and ended with Ctrl-C."""
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", seen := Watched())
    pack_source(source, tmp_path / "cache")
    assert "3 of 3 MiB" in seen.getvalue()
    assert seen.getvalue().endswith("\r\x1b[K")
    assert "\x1b[2J" not in seen.getvalue()


@pytest.mark.parametrize(("stream", "silent"), [(Watched, 3600.0), (io.StringIO, 0.0)])
def test_a_quick_one_and_one_that_nobody_sees_are_silent(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], silent: float
) -> None:
    """Logs of pipelines want no line that moves, and neither does a job that is submitted at once."""
    monkeypatch.setattr(progress, "_SILENT", silent)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", seen := stream())
    pack_source(source, tmp_path / "cache")
    assert seen.getvalue() == ""
