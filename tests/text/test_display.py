"""Texts of other programs as a terminal gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyftlearn._text.display import reason_of, terminal_text


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain, café, 日本語", "plain, café, 日本語"),
        ("10%\r20%\tdone", "10%\r20%\tdone"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[m"),
        ("\x1b[38;2;1;2;3mred", "\x1b[38;2;1;2;3mred\x1b[m"),
        ("\x1b[2J\x1b[H", "^[[2J^[[H"),
        ("\x1b]0;title\x07", "^[]0;title^G"),
        ("\x1b]52;c;cm0gLXJmIC8=\x1b\\\\", "^[]52;c;cm0gLXJmIC8=^[\\\\"),
        ("\x1b[6n\x1bP+q\x1bc", "^[[6n^[P+q^[c"),
        ("\x9b31m\x85", "<U+009B>31m<U+0085>"),
        ("a\u202eb\u2066c", "a<U+202E>b<U+2066>c"),
        ("\x00\x7f\x08", "^@^?^H"),
        ("", ""),
    ],
)
def test_a_terminal_obeys_nothing_but_colours(printed: str, shown: str) -> None:
    """A job's output may clear a screen, rename a window, answer as if typed, or hide what it did."""
    assert terminal_text(printed) == shown


def test_the_reason_of_an_error() -> None:
    """The system's own words have a number and a path, which a message that names the file would say twice."""
    with pytest.raises(FileNotFoundError) as absent:
        Path("/nowhere/flags.json").read_text()
    assert reason_of(absent.value) == "No such file or directory"
    assert reason_of(ValueError("no number")) == "no number"
