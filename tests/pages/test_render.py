"""What every page and view is made with: a value is text, whatever is in it."""

from __future__ import annotations

from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from lyftlearn import _pages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("' onclick=alert(1) x='", "&#39; onclick=alert(1) x=&#39;"),
        ("a\0b\x1b[31m\u202ec", "a b [31m c"),
        ("one\ntwo", "one two"),
    ],
)
def test_a_value_is_text_on_one_line(text: str, shown: str) -> None:
    """Names, messages and values come from jobs and files of others, and nobody remembers to escape each."""
    assert f">{shown}</div>" in _pages.render("note.html", text=text)


def test_a_message_keeps_its_lines_and_nothing_else() -> None:
    """A traceback on one line is no traceback."""
    card = _pages.render(
        "job_card.html",
        colours={"failed": "#f00"},
        **dict.fromkeys(("id", "name", "kind"), "x"),
        status="failed",
        link=None,
        named={},
        phases=[],
        phase_texts={},
        message="one\n<b>two\x1b\r\n",
    )
    assert ">one\n&lt;b&gt;two </div>" in card


def test_a_value_that_is_missing_is_an_error() -> None:
    """A page with a hole is read as if there were nothing."""
    with pytest.raises(UndefinedError, match="text"):
        _pages.render("note.html")


def test_no_template_lets_a_value_out_of_escaping() -> None:
    """The one way out would be the one that is forgotten."""
    templates = [file for file in files(_pages).joinpath("templates").iterdir() if file.name.endswith(".html")]
    assert templates
    for template in templates:
        text = template.read_text(encoding="utf-8")
        for exception in ("safe", "autoescape", "<script"):
            assert exception not in text, template.name
