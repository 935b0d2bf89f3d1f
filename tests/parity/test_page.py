"""The page of a comparison, as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lyftlearn.parity._model import Cell, Parity, Row, Verdict
from lyftlearn.parity._page import page

from .samples import STARTED, compared, mixed

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onclick=alert(1) x='",
    "a\0b\x1b[31m\udc80",
    "&lt;&amp;",
    "</style></pre></div></details>",
    "\u202eright to left \u05d0\u05d1\u05d2",
    "javascript:alert(1)",
)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page: their names, attributes and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile(text: str) -> Parity:
    cells = {text: Cell(verdict=Verdict.BROKEN, value=text, reason=text)}
    return Parity(
        reference=text,
        backends=(text,),
        rows=(Row(path=text, reference=text + "!", cells=cells),),
        command=text,
        version=text,
        started_at=STARTED,
        seconds=1,
        unmatched=(text,),
    )


def test_it_needs_nothing_but_itself() -> None:
    """It is mailed, archived, and opened where there is no network; a script would be blocked there."""
    html = page(mixed())
    read = Page(html)
    assert read.open == []
    assert not {"script", "link", "img", "iframe", "base", "form"} & {tag for tag, _ in read.elements}
    assert not [one for _, attributes in read.elements for one in attributes if one in ("src", "href", "srcset")]
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_and_nothing_else(text: str) -> None:
    """Values come from programs, names from files: the page of a hostile one has the same elements as any other."""
    html = page(hostile(text))
    html.encode("utf-8")
    assert "\0" not in html
    assert "\u202e" not in html
    plain, read = Page(page(hostile("plain"))), Page(html)
    assert [(tag, sorted(found)) for tag, found in read.elements if tag != "mark"] == [
        (tag, sorted(found)) for tag, found in plain.elements if tag != "mark"
    ]
    assert read.open == []


def test_a_large_value_is_whole_in_its_card_and_cut_in_the_matrix() -> None:
    """The matrix stays a matrix, and nobody has to look for the rest elsewhere."""
    old, new = "a" * 100_000, "a" * 60_000 + "b" * 40_000
    facts = {"kept large": old}
    read = Page(page(compared(facts, facts, one={"kept large": new}, two={"kept large": new})))
    joined = "".join(read.texts)
    assert joined.count("a" * 60_000) == 2
    assert joined.count("b" * 40_000) == 1
    matrix = [text for text in read.texts if text.startswith("...")]
    assert len(matrix) == 3
    assert max(map(len, matrix)) <= 80


def test_every_cell_opens_a_card_of_its_own_values() -> None:
    """A cell that opens to another's values would send people looking in the wrong place."""
    read = Page(page(mixed()))
    opened = [one["popovertarget"] for one in read.all("button") if one.get("class") == "cell"]
    cards = [one["id"] for one in read.all("div") if "popover" in one]
    assert len(opened) == len(mixed().rows) * 3
    assert set(opened) == set(cards)
    assert len(set(cards)) == len(cards)


def test_what_is_broken_is_open_and_first_and_what_is_equal_is_folded() -> None:
    """Who opens the page sees the faults, not the thousand facts that are well."""
    subjects = [one for one in Page(page(mixed())).all("details") if one.get("class") == "subject"]
    assert [(one["data-worst"], "open" in one) for one in subjects] == [
        ("broken", True),
        ("unknown", True),
        ("allowed", False),
        ("noise", False),
        ("equal", False),
    ]


def test_the_summary_says_it_all() -> None:
    """Whoever reads one line reads this one."""
    texts = Page(page(mixed())).texts
    assert "✗ Parity does not hold" in texts
    assert "21 facts, 3 backends: 3 broken, 1 unknown, 1 allowed for 1 reason, 1 noise, 15 equal" in texts
    facts = {"kept a": 1}
    assert "✓ Parity holds" in Page(page(compared(facts, facts, new=facts))).texts


def test_nothing_is_said_by_colour_alone() -> None:
    """Every verdict has its sign and its word, also for those who hear the page."""
    html = page(mixed())
    for sign, verdict in zip("✓≈◇∅?✗", ("equal", "noise", "allowed", "not observed", "unknown", "broken"), strict=True):
        assert f'<span class="mark {verdict.replace(" ", "-")}">{sign} {verdict}</span>' in html
    assert '<span class="what">✓ <span class="hidden">equal</span></span>' in html


def test_a_backend_that_told_nothing_says_so() -> None:
    """Not as thousands of faults, and least of all as none."""
    facts = {"kept a": 1, "kept b": 1}
    assert "nothing was observed here" in Page(page(compared(facts, facts, new={}, fine=facts))).texts


def test_a_command_that_failed_everywhere_is_said_above_all() -> None:
    """A green banner over a failed command would be believed."""
    end = {"command status": "failed", "command reason": "error", "command exit_code": 3}
    texts = Page(page(compared(end, end, new=end))).texts
    assert "? Nothing differs, but the command did not succeed" in texts
    assert any("failed (error, exit code 3) on old, new" in text for text in texts)


def test_it_does_not_fail_over_nothing() -> None:
    """A comparison of no backends, or of no facts, is a page too."""
    empty = Parity(reference="old", backends=(), rows=(), command=None, version="1", started_at=STARTED, seconds=0)
    assert "0 facts, 0 backends: nothing was compared" in Page(page(empty)).texts
